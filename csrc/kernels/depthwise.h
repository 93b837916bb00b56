// Convolutions with one channel to sum over: a product would move more than it multiplies. A plane is copied once with
// its padding (conv_planes.h, both axes shared); rows of positions are vectors, a tap is a load at an offset. Four rows
// at a time use a load for each row of taps that sees it. Forward and input gradient keep the order of the product: one
// chain over the taps. The weight gradient is in depthwise_weight.h.
#pragma once
#include "conv_planes.h"

namespace chainrule::CHAINRULE_ISA {

// Which windows have code of their own (each instance takes room in the wheel): 3 x 3 taps wherever registers are wide;
// in float32 5 x 5, 7 x 7 and a stride of two, too, those of them whose sums or rows of pixels the registers hold.
constexpr bool kThreeHasItsOwn = kTileRows > 2;
template <class T>
constexpr bool kMoreHaveTheirOwn = kThreeHasItsOwn && sizeof(T) == 4;
template <class T>
constexpr bool kHoldsWindows = kConvVecs > 1 && kMoreHaveTheirOwn<T>;
// Taps of any window whose sums are kept in registers at once.
constexpr int kTapsAtOnce = kConvVecs > 1 ? 8 : 4;

// f(first, count) for groups of at most kTapsAtOnce taps, as even as can be.
template <class F>
CHAINRULE_INLINE void each_tap_group(i64 taps, F&& f) {
  const i64 groups = ceil_div(taps, i64(kTapsAtOnce));
  for (i64 i = 0; i < groups; i++) f(i * taps / groups, (i + 1) * taps / groups - i * taps / groups);
}

constexpr i64 kBandRows = 4;  // enters the order of the weight gradient's sums: docs/numerics.md

// Whether `rows` channels that see one channel with this view's taps are computed here: rows short enough to copy
// whole.
CHAINRULE_INLINE bool depthwise(i64 rows, i64 channels, const View& v) {
  constexpr i64 kLongestRow = i64(1) << 16;
  return channels == 1 && rows <= 2 && v.taps() <= kBlockK && v.columns <= kLongestRow;
}

// A plane is copied in parts of so many rows, a multiple of kBandRows.
CHAINRULE_INLINE i64 rows_of_part(const View& v) {
  constexpr i64 kStorage = i64(1) << 15;
  View one = v;
  one.rows = kBandRows;
  const Band b = plane_band(one);
  const i64 bands = kStorage / at_least(i64(1), b.plane * b.y.runs * b.x.runs);
  return at_least(i64(1), bands) * kBandRows;
}

template <class T>
CHAINRULE_INLINE i64 part_room(const View& v) {
  View part = v;
  part.rows = at_most(v.rows, rows_of_part(v));
  const Band b = plane_band(part);
  return round_up(b.plane * b.y.runs * b.x.runs, vec<T>::size) + 4 * vec<T>::size;  // loads reach past the last row
}

// The parts of planes that have this view. All but the last one of a plane are alike.
class PlaneParts {
 public:
  CHAINRULE_INLINE explicit PlaneParts(const View& v)
      : view_(v), rows_(at_most(v.rows, rows_of_part(v))), whole_(v, rows_), last_(v, rest()) {}

  // f(row, band, offset) for each part of a plane, copied to storage.
  template <class T, class F>
  CHAINRULE_INLINE void each(const T* plane, T* storage, F&& f) const {
    for (i64 row = 0; row < view_.rows; row += rows_) {
      const Part& part = view_.rows - row < rows_ ? last_ : whole_;
      Band band = part.band;
      band.view.off_y += row * view_.step_y;
      copy_terms(storage, plane, 0, view_.taps(), band);
      f(row, band, part.offset);
    }
  }

 private:
  struct Part {
    Band band;
    i32 offset[kBlockK];
    CHAINRULE_INLINE Part(View v, i64 rows) {
      v.rows = rows;
      band = plane_band(v);
      if (rows > 0) find_terms(offset, 0, v.taps(), band);
    }
  };
  CHAINRULE_INLINE i64 rest() const { return rows_ > 0 ? view_.rows % rows_ : 0; }
  View view_;
  i64 rows_;
  Part whole_, last_;
};

// The share of the plane that is copied next, which is sent for while these rows of positions are computed.
struct NextPlane {
  static constexpr i64 kLine = 64, kFewBytes = 8192;  // of a plane that the prefetcher foresees by itself
  const char *at, *end;

  template <class T>
  CHAINRULE_INLINE NextPlane(const T* plane, i64 size, i64 row, i64 rows, i64 of)
      : at(reinterpret_cast<const char*>(plane + (row ? size * row / of : 0))),
        end(reinterpret_cast<const char*>(plane + (row + rows < of ? size * (row + rows) / of : size))) {}
  template <class T>
  CHAINRULE_INLINE static NextPlane if_large(const T* plane, i64 size, i64 row, i64 rows, i64 of) {
    return {plane, size * i64(sizeof(T)) > kFewBytes ? size : 0, row, rows, of};
  }
  CHAINRULE_INLINE i64 lines(i64 times) const { return ceil_div(ceil_div(end - at, kLine), times); }
  CHAINRULE_INLINE void send(i64 lines) {
    for (; lines > 0 && at < end; lines--, at += kLine) send_for(at);
  }
};

// Windows of a fixed size, one apart in rows: tap row ty of position row v lies in row v + ty (or, with a negative
// delta, v - ty) of the copy. 0 for any other window.
CHAINRULE_INLINE i64 fixed_window(const Band& b) {
  const View& v = b.view;
  const bool unit = b.y.shared && v.step_y == 1 && (v.delta_y == 1 || v.delta_y == -1);
  return unit && v.kh == v.kw && (v.kh == 3 || v.kh == 5 || v.kh == 7) ? v.kh : 0;
}

// Rows of positions, `step` rows of the copy apart, Rows of them by Vecs vecs. from: what tap 0 of the first sees.
template <class T, int K, int Rows, int Vecs, class Put>
CHAINRULE_INLINE void depthwise_block(const T* from, i64 step, const i32* offset, const T* weights, Put&& put) {
  constexpr i64 size = vec<T>::size;
  vec<T> sum[Rows][Vecs];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) sum[i][v] = vec<T>(0);
#pragma GCC unroll 16
  for (int line = 0; line < Rows + K - 1; line++)
#pragma GCC unroll 8
    for (int tx = 0; tx < K; tx++)
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; v++) {
        const vec<T> x = keep(load(from + line * step + offset[tx] + v * size));
#pragma GCC unroll 8
        for (int i = 0; i < Rows; i++)
          if (line - i >= 0 && line - i < K) sum[i][v] = fma(vec<T>(weights[(line - i) * K + tx]), x, sum[i][v]);
      }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) put(i, v, sum[i][v]);
}

// y[v][u] of a whole plane by bands of Rows rows, K x K taps.
template <class T, int K, int Rows>
CHAINRULE_OUT_OF_LINE void depthwise_bands(T* y, i64 ldy, const T* copy, const i32* offset, const T* weights,
                                           const Band& b, i64 first, i64 last) {
  constexpr i64 size = vec<T>::size;
  constexpr int kVecs = kConvVecs > 1 ? 2 : 1;
  const bool down = b.view.delta_y > 0;
  const i64 step = down ? b.pitch : -b.pitch, columns = b.view.columns;
  // Taps in ascending order see rows downwards or upwards: so the rows of a band are numbered.
  const i64 start = down ? first : last - 1;
  const T* const from = copy + start * b.pitch;
  T* const to = y + start * ldy;
  const i64 next = down ? ldy : -ldy;
  i64 u = 0;
  for (; u + kVecs * size <= columns; u += kVecs * size)
    depthwise_block<T, K, Rows, kVecs>(from + u, step, offset, weights,
                                       [&](int i, int v, vec<T> x) { store(to + i * next + u + v * size, x); });
  for (; u < columns; u += size)
    depthwise_block<T, K, Rows, 1>(from + u, step, offset, weights, [&](int i, int, vec<T> x) {
      store(to + i * next + u, x, at_most(size, columns - u));
    });
}

template <class T, int K>
CHAINRULE_INLINE void depthwise_fixed(T* y, i64 ldy, const T* copy, const i32* offset, const T* weights, const Band& b,
                                      NextPlane next) {
  const i64 lines = next.lines(ceil_div(b.view.rows, kBandRows));
  i64 v = 0;
  for (; v + kBandRows <= b.view.rows; v += kBandRows) {
    next.send(lines);
    depthwise_bands<T, K, kBandRows>(y, ldy, copy, offset, weights, b, v, v + kBandRows);
  }
  for (; v < b.view.rows; v++) depthwise_bands<T, K, 1>(y, ldy, copy, offset, weights, b, v, v + 1);
}

// Any window: Rows rows of positions by Vecs vecs, of which `left` elements are stored.
template <int Rows, int Vecs, class T>
CHAINRULE_INLINE void depthwise_vecs(T* y, i64 ldy, i64 left, const T* from, const i32* offset, const T* weights,
                                     const Band& b) {
  constexpr i64 size = vec<T>::size;
  const i64 taps = b.view.taps();
  vec<T> sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < Vecs; i++) sum[r][i] = vec<T>(0);
  for (i64 t = 0; t < taps; t++) {
    const vec<T> w(weights[t]);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
      for (int i = 0; i < Vecs; i++) sum[r][i] = fma(w, load(from + r * b.pitch + offset[t] + i * size), sum[r][i]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < Vecs; i++)
      if (left > i * size) store(y + r * ldy + i * size, sum[r][i], at_most(size, left - i * size));
}
template <int Rows, class T>
CHAINRULE_OUT_OF_LINE void depthwise_rows(T* y, i64 ldy, const T* copy, const i32* offset, const T* weights,
                                          const Band& b) {
  constexpr i64 size = vec<T>::size;
  for (i64 u = 0; u < b.view.columns;) {
    const i64 left = b.view.columns - u;
    if (left > size)
      depthwise_vecs<Rows, 2>(y + u, ldy, left, copy + u, offset, weights, b), u += 2 * size;
    else
      depthwise_vecs<Rows, 1>(y + u, ldy, left, copy + u, offset, weights, b), u += size;
  }
}

// One plane of sums, rows ldy apart, from the copy of a plane.
template <class T>
CHAINRULE_OUT_OF_LINE void depthwise_sums(T* y, i64 ldy, const T* copy, const i32* offset, const T* weights,
                                          const Band& b, NextPlane next) {
  const i64 fixed = fixed_window(b), rows = b.view.rows;
  if constexpr (kThreeHasItsOwn)
    if (fixed == 3) return depthwise_fixed<T, 3>(y, ldy, copy, offset, weights, b, next);
  if constexpr (kMoreHaveTheirOwn<T>) {
    if (fixed == 5) return depthwise_fixed<T, 5>(y, ldy, copy, offset, weights, b, next);
    if (fixed == 7) return depthwise_fixed<T, 7>(y, ldy, copy, offset, weights, b, next);
  }
  const i64 lines = next.lines(ceil_div(rows, kBandRows));
  i64 v = 0;
  for (; v + kBandRows <= rows; v += kBandRows, y += kBandRows * ldy, copy += kBandRows * b.pitch) {
    next.send(lines);
    depthwise_rows<kBandRows>(y, ldy, copy, offset, weights, b);
  }
  for (; v < rows; v++, y += ldy, copy += b.pitch) depthwise_rows<1>(y, ldy, copy, offset, weights, b);
}

}  // namespace chainrule::CHAINRULE_ISA
