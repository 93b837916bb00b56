// How a kernel shares its work: chunks cut by the shapes alone, each computed whole by one thread.
#pragma once
#include "runtime/team.h"
#include "simd.h"

namespace chainrule::CHAINRULE_ISA {

CHAINRULE_INLINE constexpr i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }
CHAINRULE_INLINE constexpr i64 round_up(i64 a, i64 b) { return ceil_div(a, b) * b; }
template <class T>
CHAINRULE_INLINE constexpr T at_most(T a, T b) {
  return a < b ? a : b;
}
template <class T>
CHAINRULE_INLINE constexpr T at_least(T a, T b) {
  return a > b ? a : b;
}

// n parts in at most `most` chunks: equal ones, where there are such that aren't more than twice as large, since a
// short last one would leave a thread waiting.
struct Chunks {
  i64 size, count;
};
CHAINRULE_INLINE Chunks chunks_of(i64 n, i64 most) {
  const i64 least = at_least(i64(1), ceil_div(n, at_least(i64(1), most)));
  for (i64 size = least; size <= 2 * least; size++)
    if (n % size == 0) return {size, at_least(i64(1), n / size)};
  return {least, ceil_div(n, least)};
}

// Has a line's worth of memory, which is read or written soon, come to the L2. By its last byte: where it isn't
// aligned, that line is the new one, the one before is the neighbour's.
CHAINRULE_INLINE void send_for(const void* line) { __builtin_prefetch(static_cast<const char*>(line) + 63, 0, 2); }

// body(begin, end) for [0, n) in chunks of `grain`. No barrier at its end: call team.barrier() before another thread's
// results are read. A chunk should take 5 us or more, and under 50 ms (an interrupt is answered between chunks).
template <class F>
CHAINRULE_INLINE void parallel_for(Team& team, i64 n, i64 grain, F&& body) {
  constexpr i64 kMostChunks = i64(1) << 22;
  if (n > grain * kMostChunks) grain *= ceil_div(n, grain * kMostChunks);  // chunks begin at multiples of the grain
  team.next_loop();
  for (i64 chunk; team.take(ceil_div(n, grain), &chunk);) body(chunk * grain, at_most(n, (chunk + 1) * grain));
}

// Elements per chunk of a pass over flat arrays: 16 KB of float32 each.
constexpr i64 kFlatGrain = 4096;

// body(i, lanes) for a flat array of n elements, a vec at a time; lanes is vec<T>::size but for the last. Flattened, so
// that the body of whole vecs is compiled for that constant: without masks, twice as fast on AVX2. A copy of body's
// own: what it holds by value stays in registers, where a store might have changed the original.
template <class T, class F>
CHAINRULE_INLINE void parallel_vecs(Team& team, i64 n, const F& body) {
  parallel_for(
      team, n, kFlatGrain, [&](i64 begin, i64 end) __attribute__((flatten)) {
        const F own = body;
        i64 i = begin;
        for (; i + vec<T>::size <= end; i += vec<T>::size) own(i, i64(vec<T>::size));
        if (i < end) own(i, end - i);
      });
}

// body(i, lanes) for the vectors of [from, to) on this thread. Whole vectors and the tail get lanes of two types, so
// that the compiler makes a loop without masks and one tail: body takes `auto lanes` and hands it to load and store.
struct Whole {};
template <class Lanes>
constexpr bool kWhole = false;
template <>
inline constexpr bool kWhole<Whole> = true;
template <class T>
CHAINRULE_INLINE vec<T> load(const T* p, Whole) {
  return load(p);
}
template <class T>
CHAINRULE_INLINE void store(T* p, vec<T> v, Whole) {
  store(p, v);
}
template <class T, class F>
CHAINRULE_INLINE void each_vec(i64 from, i64 to, F&& body) {
  for (; from + vec<T>::size <= to; from += vec<T>::size) body(from, Whole());
  if (from < to) body(from, to - from);
}

}  // namespace chainrule::CHAINRULE_ISA

// At the end of a kernel's .cpp: makes its two instances, so that the table finds them.
#define INSTANTIATE(name)                     \
  template decltype(name<float>) name<float>; \
  template decltype(name<double>) name<double>;
