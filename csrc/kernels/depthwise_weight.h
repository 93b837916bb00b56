// The weight gradient of convolutions with one channel to sum over, from planes: depthwise.h's copy of a plane of x,
// and a plane of dy as it lies. Sums over positions go in lanes along rows, by bands of kBandRows rows; then the lanes
// are added, then partial sums of some images each, in ascending order (docs/numerics.md).
#pragma once
#include "conv_dots.h"
#include "conv_sizes.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
struct PlaneGradientCut {
  i64 images, sums;  // of a partial sum; partial sums
  i64 part, own;     // elements of a thread's copy of a plane, and with its totals
  i64 weights;

  PlaneGradientCut(const Conv2d& conv, const Sizes& s) {
    constexpr i64 kPositions = i64(1) << 14;
    images = ceil_div(kPositions, at_least(i64(1), s.size)), sums = ceil_div(conv.batch, images);
    part = part_room<T>(view_of(conv.window));
    own = round_up(part + s.out * s.taps * vec<T>::size, vec<T>::size);
    weights = conv.cout * s.taps;
  }
  CHAINRULE_INLINE i64 scratch(i64 threads) const { return threads * own + sums * weights; }
};

// Bands of Rows rows, tap rows [first, first + KH) of KW taps: total[t] gains, in lanes, vec after vec and row after
// row of each band. dy and the copy are at the first band's first row.
template <class T, int KH, int KW, int Rows>
CHAINRULE_OUT_OF_LINE void weight_bands(T* total, const T* dy, const T* copy, const i32* offset, const Band& b,
                                        i64 bands, i64 first, i64 next_dy, NextPlane next) {
  total += first * KW * vec<T>::size, copy += first * b.pitch;
  const i64 columns = b.view.columns, lines = next.lines(bands);
  vec<T> sum[KH * KW];
#pragma GCC unroll 32
  for (int t = 0; t < KH * KW; t++) sum[t] = load(total + t * vec<T>::size);
  for (; bands > 0; bands--, dy += Rows * columns, copy += Rows * b.pitch) {
    next.send(lines);
    each_vec<T>(0, columns, [&](i64 u, auto lanes) {
      vec<T> g[Rows];
#pragma GCC unroll 8
      for (int i = 0; i < Rows; i++) {
        const T* const from = dy + i * columns + u;
        send_for(from + next_dy);
        g[i] = keep(load(from, lanes));
      }
#pragma GCC unroll 16
      for (int line = 0; line < Rows + KH - 1; line++)
#pragma GCC unroll 8
        for (int tx = 0; tx < KW; tx++) {
          const vec<T> x = keep(load(copy + line * b.pitch + offset[tx] + u, lanes));
#pragma GCC unroll 8
          for (int i = 0; i < Rows; i++)
            if (line - i >= 0 && line - i < KH) sum[(line - i) * KW + tx] = fma(g[i], x, sum[(line - i) * KW + tx]);
        }
    });
  }
#pragma GCC unroll 32
  for (int t = 0; t < KH * KW; t++) store(total + t * vec<T>::size, sum[t]);
}

// The same for taps [first, first + Taps) of any window, and `rows` rows: the last band may have fewer.
template <class T, int Taps>
CHAINRULE_OUT_OF_LINE void weight_taps(T* total, const T* dy, const T* copy, const i32* offset, const Band& b, i64 rows,
                                       i64 first, NextPlane* next, i64 lines) {
  const i64 columns = b.view.columns;
  total += first * vec<T>::size, offset += first;
  vec<T> sum[Taps];
#pragma GCC unroll 8
  for (int t = 0; t < Taps; t++) sum[t] = load(total + t * vec<T>::size);
  for (i64 v = 0; v < rows; v += kBandRows, dy += kBandRows * columns, copy += kBandRows * b.pitch) {
    const i64 here = at_most(kBandRows, rows - v);
    next->send(lines);
    each_vec<T>(0, columns, [&](i64 u, auto lanes) {
      for (i64 i = 0; i < here; i++) {
        const vec<T> g = keep(load(dy + i * columns + u, lanes));
        const T* const seen = copy + i * b.pitch + u;
#pragma GCC unroll 8
        for (int t = 0; t < Taps; t++) sum[t] = fma(g, load(seen + offset[t], lanes), sum[t]);
      }
    });
  }
#pragma GCC unroll 8
  for (int t = 0; t < Taps; t++) store(total + t * vec<T>::size, sum[t]);
}
template <int Taps = kTapsAtOnce, class T>
CHAINRULE_INLINE void some_taps(T* total, const T* dy, const T* copy, const i32* offset, const Band& b, i64 rows,
                                i64 first, i64 taps, NextPlane* next, i64 lines) {
  if constexpr (Taps > 1)
    if (taps < Taps) return some_taps<Taps - 1>(total, dy, copy, offset, b, rows, first, taps, next, lines);
  weight_taps<T, Taps>(total, dy, copy, offset, b, rows, first, next, lines);
}

// What is left of 3 x 3 taps beyond whole bands: one of fewer rows.
template <int Rows = kBandRows - 1, class T>
CHAINRULE_INLINE void last_band(T* total, const T* dy, const T* copy, const i32* offset, const Band& b, i64 rows,
                                i64 next_dy, const NextPlane& next) {
  if constexpr (Rows > 1)
    if (rows < Rows) return last_band<Rows - 1>(total, dy, copy, offset, b, rows, next_dy, next);
  weight_bands<T, 3, 3, Rows>(total, dy, copy, offset, b, 1, 0, next_dy, next);
}

// total, a vec for each tap, += lanes of the sum over all positions of one part of a plane.
template <class T>
CHAINRULE_INLINE void part_weights(T* total, const T* dy, const T* copy, const i32* offset, const Band& b, i64 next_dy,
                                   NextPlane next) {
  i64 rows = b.view.rows;
  const i64 bands = rows / kBandRows, fixed = fixed_window(b);
  const auto skip_bands = [&] {
    rows -= bands * kBandRows, dy += bands * kBandRows * b.view.columns, copy += bands * kBandRows * b.pitch;
  };
  if constexpr (kThreeHasItsOwn)
    if (fixed == 3) {
      if (bands > 0) weight_bands<T, 3, 3, kBandRows>(total, dy, copy, offset, b, bands, 0, next_dy, next);
      skip_bands();
      if (rows > 0) last_band(total, dy, copy, offset, b, rows, next_dy, next);
      return;
    }
  if constexpr (kHoldsWindows<T>)
    if (fixed && bands > 0) {  // all tap rows whose sums the registers hold at once
      const auto taps = [&](auto rows_of_taps, auto columns, i64 first) {
        weight_bands<T, decltype(rows_of_taps)::value, decltype(columns)::value, kBandRows>(
            total, dy, copy, offset, b, bands, first, next_dy, next);
      };
      if (fixed == 5)
        taps(Count<5>(), Count<5>(), 0);
      else
        taps(Count<3>(), Count<7>(), 0), taps(Count<2>(), Count<7>(), 3), taps(Count<2>(), Count<7>(), 5);
      skip_bands();
    }
  if (rows == 0) return;
  const i64 lines = next.lines(ceil_div(b.view.taps(), i64(kTapsAtOnce)) * ceil_div(rows, kBandRows));
  each_tap_group(b.view.taps(),
                 [&](i64 first, i64 taps) { some_taps(total, dy, copy, offset, b, rows, first, taps, &next, lines); });
}

template <class T>
void plane_weights(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const View view = view_of(conv.window);
  const PlaneParts plane_parts(view);
  const PlaneGradientCut<T> cut(conv, s);
  T* const partials = scratch + team.size() * cut.own;
  T* const storage = scratch + team.rank() * cut.own;
  T* const totals = storage + cut.part;
  parallel_for(team, cut.sums * conv.groups, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i % conv.groups, image = i / conv.groups * cut.images;
      const i64 images = at_most(cut.images, conv.batch - image);
      for (i64 j = 0; j < s.out * s.taps; j++) store(totals + j * size, vec<T>(0));
      for (i64 n = 0; n < images; n++) {
        const T* const plane = x + (image + n) * s.x.image + group * s.x.channel;
        const T* const output = dy + (image + n) * s.y.image + group * s.out * s.y.channel;
        // The next group's first plane lies images back.
        const i64 on = n + 1 < images ? 1 : 1 - images, groups = n + 1 < images ? 0 : 1;
        const T* const next = plane + on * s.x.image + groups * s.x.channel;
        plane_parts.each(plane, storage, [&](i64 row, const Band& band, const i32* offset) {
          const i64 dy_on = on * s.y.image + groups * s.out * s.y.channel;
          const NextPlane ahead(next, s.image, row, band.view.rows, view.rows);
          for (i64 o = 0; o < s.out; o++)
            part_weights(totals + o * s.taps * size, output + o * s.size + row * view.columns, storage, offset, band,
                         dy_on, ahead);
        });
      }
      T* const to = partials + (i / conv.groups * conv.cout + group * s.out) * s.taps;
      for (i64 j = 0; j < s.out * s.taps; j++) {
        const vec<T> total = load(totals + j * size);
        to[j] = lane(sum_lanes<T, 1>(&total), 0);
      }
    }
  });
  team.barrier();
  add_partials(team, dw, partials, cut.sums, cut.weights);
}

}  // namespace chainrule::CHAINRULE_ISA
