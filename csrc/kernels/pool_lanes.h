// Pooling of small planes: their rows would fill few lanes, so a block of vec<T>::size planes is transposed, and pooled
// as one image of as many channels.
#pragma once
#include "lanes.h"
#include "pool_pixels.h"

namespace chainrule::CHAINRULE_ISA {

// A thread's scratch: of `in` elements of a block's planes in lanes, and `out` of their results.
template <class T>
CHAINRULE_INLINE i64 block_room(i64 in, i64 out) {
  return (in + out) * vec<T>::size;
}

// Whether there are planes enough to fill the lanes, and small enough for the L2.
template <class T>
CHAINRULE_INLINE bool worth_blocks(i64 planes, i64 in, i64 out) {
  constexpr i64 kRoom = (i64(256) << 10) / sizeof(T);
  return planes * 4 >= round_up(planes, vec<T>::size) * 3 && planes > 0 && block_room<T>(in, out) <= kRoom;
}

// body(first, count, lanes, results) for blocks of `count` planes, moved to lanes: `in` elements each of x. results:
// room for what body makes. `work` elements a plane.
template <class T, class F>
CHAINRULE_INLINE void each_block(Team& team, const T* x, i64 planes, i64 in, i64 out, i64 work, T* scratch, F&& body) {
  constexpr i64 size = vec<T>::size;
  T* const lanes = scratch + team.rank() * block_room<T>(in, out);
  const i64 grain = ceil_div(kPixelGrain, at_least(i64(1), size * work));
  parallel_for(team, ceil_div(planes, size), grain, [&](i64 begin, i64 end) {
    for (i64 first = begin * size; first < at_most(planes, end * size); first += size) {
      const i64 count = at_most(size, planes - first);
      run_to_lanes(lanes, size, x + first * in, {0, in, 1}, count, in);
      body(first, count, lanes, lanes + in * size);
    }
  });
}

// What a block of planes of max_pool2d keeps beside its maxima: places in lanes, and by plane.
CHAINRULE_INLINE i64 max_results(const Window2d& g) { return 3 * g.oh * g.ow; }

template <class T>
CHAINRULE_INLINE void max_planes(Team& team, T* y, i64* indices, const T* x, i64 planes, const Window2d& g,
                                 T* scratch) {
  using I = typename int_of<T>::type;
  constexpr i64 size = vec<T>::size;
  const i64 in = g.h * g.w, out = g.oh * g.ow;
  each_block(team, x, planes, in, max_results(g), in + out * g.kh * g.kw, scratch,
             [&](i64 first, i64 count, const T* lanes, T* best) {
               T* const places = best + out * size;  // an I's bits in each element
               T* const moved = places + out * size;
               for (i64 oy = 0; oy < g.oh; oy++)
                 max_pixel_row(lanes, size, g, oy, [&](i64 ox, i64, vec<T> value, vec<I> place, auto) {
                   store(best + (oy * g.ow + ox) * size, value);
                   store(places + (oy * g.ow + ox) * size, bitcast<T>(place));
                 });
               run_from_lanes(y + first * out, best, size, {0, out, 1}, count, out);
               if (!indices) return;
               run_from_lanes(moved, places, size, {0, out, 1}, count, out);
               each_vec<T>(0, count * out, [&](i64 i, auto n) {
                 put_places<T>(indices + first * out + i, bitcast<I>(load(moved + i, n)), n);
               });
             });
}

template <class T, class F>
CHAINRULE_INLINE void avg_planes(Team& team, T* y, const T* x, i64 planes, const Window2d& g, T* scratch, F&& count) {
  constexpr i64 size = vec<T>::size;
  const i64 in = g.h * g.w, out = g.oh * g.ow;
  each_block(team, x, planes, in, out, in + out * g.kh * g.kw, scratch,
             [&](i64 first, i64 planes_of_it, const T* lanes, T* means) {
               for (i64 oy = 0; oy < g.oh; oy++) avg_pixel_row(means + oy * g.ow * size, lanes, size, g, oy, count);
               run_from_lanes(y + first * out, means, size, {0, out, 1}, planes_of_it, out);
             });
}

template <class T, class H, class F>
CHAINRULE_INLINE void avg_planes_backward(Team& team, T* dx, const T* dy, i64 planes, const Window2d& g, T* scratch,
                                          const H& holders, F&& count) {
  constexpr i64 size = vec<T>::size;
  const i64 in = g.h * g.w, out = g.oh * g.ow;
  each_block(team, dy, planes, out, in, in + out * g.kh * g.kw, scratch,
             [&](i64 first, i64 planes_of_it, T* shares, T* gradients) {
               for (i64 oy = 0; oy < g.oh; oy++)
                 for (i64 ox = 0; ox < g.ow; ox++) {
                   T* const share = shares + (oy * g.ow + ox) * size;
                   store(share, Over<T>(count(oy, ox))(load(share)));
                 }
               for (i64 iy = 0; iy < g.h; iy++)
                 avg_gather_row<true>(gradients + iy * g.w * size, shares, size, g, iy, holders,
                                      [](i64, i64) { return [](vec<T> v) { return v; }; });
               run_from_lanes(dx + first * in, gradients, size, {0, in, 1}, planes_of_it, in);
             });
}

}  // namespace chainrule::CHAINRULE_ISA
