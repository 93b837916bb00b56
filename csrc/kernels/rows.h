// Passes over one row (n contiguous elements) that one thread makes: sums and extremes in an order fixed by n alone.
#pragma once
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

// All bits set in the first n lanes none in the rest.
template <class T>
CHAINRULE_INLINE mask<T> first(i64 n) {
  using I = typename int_of<T>::type;
  I lanes[vec<T>::size];
  for (int i = 0; i < vec<T>::size; i++) lanes[i] = I(i);
  return load(lanes) < vec<I>(I(n));
}
// v in those lanes, `rest` in the others.
template <class T>
CHAINRULE_INLINE vec<T> keep(vec<T> v, i64 n, T rest) {
  return select<T>(first<T>(n), v, vec<T>(rest));
}
template <class T>
CHAINRULE_INLINE vec<T> keep(vec<T> v, Whole, T) {
  return v;
}

// A parameter that may be left out: p's elements, or one value where p is null.
template <class T, class L>
CHAINRULE_INLINE vec<T> or_value(const T* p, i64 i, L lanes, T value) {
  return p ? load(p + i, lanes) : vec<T>(value);
}

template <class T>
struct Add {
  static constexpr T identity = 0;
  static CHAINRULE_INLINE vec<T> combine(vec<T> a, vec<T> b) { return a + b; }
  static CHAINRULE_INLINE T combine(T a, T b) { return a + b; }
};

// The larger; a NaN wins over everything.
template <class T>
struct Max {
  static constexpr T identity = -T(__builtin_inf());
  static CHAINRULE_INLINE mask<T> beats(vec<T> a, vec<T> b) { return a > b; }
  static CHAINRULE_INLINE bool beats(T a, T b) { return a > b; }
  static CHAINRULE_INLINE vec<T> combine(vec<T> a, vec<T> b) { return select<T>(a != a, a, max(a, b)); }
  static CHAINRULE_INLINE T combine(T a, T b) { return b > a || b != b ? b : a; }
};

template <class T>
struct Min {
  static constexpr T identity = T(__builtin_inf());
  static CHAINRULE_INLINE mask<T> beats(vec<T> a, vec<T> b) { return a < b; }
  static CHAINRULE_INLINE bool beats(T a, T b) { return a < b; }
  static CHAINRULE_INLINE vec<T> combine(vec<T> a, vec<T> b) { return select<T>(a != a, a, min(a, b)); }
  static CHAINRULE_INLINE T combine(T a, T b) { return b < a || b != b ? b : a; }
};

// Combines value(i, lanes), i in [0, n): four vecs of accumulators (eight adds in flight on AVX2 hide their latency)
// that start afresh every 16 rounds, so that no lane adds more than 16 terms in a row; then the tree of reduce().
template <class Op, class T, class F>
CHAINRULE_INLINE T reduce_row(i64 n, F&& value) {
  constexpr int W = vec<T>::size;
  constexpr i64 kRound = 4 * W, kRounds = 16;
  const auto join = [](vec<T> p, vec<T> q) { return Op::combine(p, q); };
  const vec<T> none = Op::identity;
  if (n <= W)  // the same as below, in less time than it takes to get there
    return reduce(join(none, n == W ? value(0, Whole()) : keep(value(0, n), n, T(Op::identity))), join);
  vec<T> a[4], total[4] = {Op::identity, Op::identity, Op::identity, Op::identity};
  i64 i = 0;
  while (i + kRound <= n) {
    const i64 stop = at_most(i + kRounds * kRound, n) - kRound;
    for (int k = 0; k < 4; k++) a[k] = value(i + k * W, Whole());
    for (i += kRound; i <= stop; i += kRound)
      for (int k = 0; k < 4; k++) a[k] = Op::combine(a[k], value(i + k * W, Whole()));
    for (int k = 0; k < 4; k++) total[k] = Op::combine(total[k], a[k]);
  }
  for (; i + W <= n; i += W) total[0] = Op::combine(total[0], value(i, Whole()));
  if (i < n) total[1] = Op::combine(total[1], keep(value(i, n - i), n - i, T(Op::identity)));
  return reduce(join(join(total[0], total[1]), join(total[2], total[3])), join);
}

// Elements of a row that one accumulation may run over. Longer rows are cut.
constexpr i64 kRowChunk = 4096;

// reduce_row() over a row of any length by one thread: its chunks' results are combined in ascending order.
template <class Op, class T, class F>
CHAINRULE_INLINE T reduce_long_row(i64 n, F&& value) {
  T result = Op::identity;
  for (i64 begin = 0; begin < n; begin += kRowChunk) {
    const T part =
        reduce_row<Op, T>(at_most(kRowChunk, n - begin), [&](i64 i, auto lanes) { return value(begin + i, lanes); });
    result = Op::combine(result, part);
  }
  return result;
}

// Mean and sum of squared deviations from it, of `count` numbers.
template <class T>
struct Moments {
  T mean, squares;
};

// For one row chunk, n in [1, kRowChunk]: its mean but for rounding errors, and with that the moments. What it misses
// is put right by the sum of the deviations, so a constant row has exactly zero squares.
template <class T>
CHAINRULE_INLINE T rough_mean(const T* x, i64 n) {
  return reduce_row<Add<T>, T>(n, [=](i64 i, auto lanes) { return load(x + i, lanes); }) / T(n);
}
template <class T>
CHAINRULE_INLINE Moments<T> row_moments(const T* x, i64 n, T mean) {
  constexpr i64 W = vec<T>::size;
  vec<T> s[4] = {T(0), T(0), T(0), T(0)}, q[4] = {T(0), T(0), T(0), T(0)};
  const auto add = [&](int k, i64 i, auto lanes) {  // k is a constant where it is called: s and q stay in registers
    const vec<T> d = keep(load(x + i, lanes) - mean, lanes, T(0));
    s[k] = s[k] + d;
    q[k] = fma(d, d, q[k]);
  };
  i64 i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    add(0, i, Whole()), add(1, i + W, Whole()), add(2, i + 2 * W, Whole()), add(3, i + 3 * W, Whole());
  for (; i + W <= n; i += W) add(0, i, Whole());
  if (i < n) add(1, i, n - i);
  const T off = sum((s[0] + s[1]) + (s[2] + s[3]));
  return {mean + off / T(n), at_least(T(0), sum((q[0] + q[1]) + (q[2] + q[3])) - off * (off / T(n)))};
}

template <class T>
CHAINRULE_INLINE Moments<T> row_moments(const T* x, i64 n) {
  return row_moments(x, n, rough_mean(x, n));
}

// As row_moments(), for `columns` sets of `rows` numbers side by side.
template <class T>
void column_moments(T* means, T* squares, const T* x, i64 rows, i64 stride, i64 columns) {
  each_vec<T>(0, columns, [&](i64 j, auto lanes) {
    vec<T> total = T(0), off = T(0), q = T(0);
    for (i64 r = 0; r < rows; r++) total = total + load(x + r * stride + j, lanes);
    const vec<T> mean = total / T(rows);
    for (i64 r = 0; r < rows; r++) {
      const vec<T> d = load(x + r * stride + j, lanes) - mean;
      off = off + d;
      q = fma(d, d, q);
    }
    store(means + j, mean + off / T(rows), lanes);
    store(squares + j, max(vec<T>(T(0)), q - off * (off / T(rows))), lanes);
  });
}

// The moments of two sets together (Chan, Golub and LeVeque 1979); T may be a vec.
template <class T, class C>
CHAINRULE_INLINE Moments<T> join(Moments<T> a, C count_a, Moments<T> b, C count_b) {
  const C total = count_a + count_b;
  const T delta = b.mean - a.mean;
  return {a.mean + delta * (count_b / total), a.squares + b.squares + delta * delta * (count_a * (count_b / total))};
}

template <class T>
CHAINRULE_INLINE Moments<T> long_row_moments(const T* x, i64 n) {
  Moments<T> all{};
  for (i64 begin = 0; begin < n; begin += kRowChunk) {
    const i64 count = at_most(kRowChunk, n - begin);
    const Moments<T> part = row_moments(x + begin, count);
    all = begin == 0 ? part : join(all, T(begin), part, T(count));
  }
  return all;
}

}  // namespace chainrule::CHAINRULE_ISA
