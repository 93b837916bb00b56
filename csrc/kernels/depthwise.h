// Convolutions with one input channel per group, straight from the planes: an implicit product would pack more than it
// multiplies. Forward and input gradient keep the order of the product (one chain over the taps); the weight gradient
// is a sum over pixels in lanes.
#pragma once
#include "patches.h"

namespace chainrule::CHAINRULE_ISA {

// The vec of positions (v, u..u+n) as tap (ty, tx) sees them.
template <class T>
CHAINRULE_INLINE vec<T> load_tap(const T* plane, const View& view, i64 v, i64 u, i64 ty, i64 tx, i64 n) {
  const i64 y = v * view.step_y + view.off_y + ty * view.delta_y;
  const i64 x = u * view.step_x + view.off_x + tx * view.delta_x;
  if (n <= 0 || y < 0 || y >= view.h) return vec<T>(0);
  if (x >= 0 && x + (n - 1) * view.step_x < view.w) {
    if (view.step_x == 1) return load_every<1>(plane + y * view.w + x, 1, n);
    if (view.step_x == 2) return load_every<2>(plane + y * view.w + x, 2, n);
  }
  T lanes[vec<T>::size] = {};
  for (i64 i = 0; i < n; i++) {
    const i64 at = x + i * view.step_x;
    if (at >= 0 && at < view.w) lanes[i] = plane[y * view.w + at];
  }
  return load(lanes);
}

// Vecs * size positions of one row: sum over k = (channel, ty, tx) of weights[k] times what the tap sees.
template <int Vecs, class T, class Store>
CHAINRULE_INLINE void direct_block(const T* plane, const T* weights, i64 channels, const View& view, i64 v, i64 u,
                                   Store&& put) {
  constexpr i64 size = vec<T>::size;
  vec<T> sum[Vecs];
  for (int i = 0; i < Vecs; i++) sum[i] = vec<T>(0);
  for (i64 c = 0; c < channels; c++, plane += view.h * view.w)
    for (i64 ty = 0; ty < view.kh; ty++)
      for (i64 tx = 0; tx < view.kw; tx++) {
        const vec<T> weight(*weights++);
#pragma GCC unroll 4
        for (int i = 0; i < Vecs; i++) {
          const i64 n = at_most(size, view.columns - u - i * size);
          sum[i] = fma(weight, load_tap(plane, view, v, u + i * size, ty, tx, n), sum[i]);
        }
      }
  for (int i = 0; i < Vecs; i++)
    if (u + i * size < view.columns) put(u + i * size, at_most(size, view.columns - u - i * size), sum[i]);
}

// One row of positions; put(u, lanes, sums) takes each vec. channels * taps is at most kBlockK: one block of K.
template <class T, class Store>
CHAINRULE_INLINE void direct_row(const T* plane, const T* weights, i64 channels, const View& view, i64 v, Store&& put) {
  constexpr i64 size = vec<T>::size;
  for (i64 u = 0; u < view.columns;) {
    const i64 left = view.columns - u;
    if (left > 2 * size)
      direct_block<4>(plane, weights, channels, view, v, u, put), u += 4 * size;
    else if (left > size)
      direct_block<2>(plane, weights, channels, view, v, u, put), u += 2 * size;
    else
      direct_block<1>(plane, weights, channels, view, v, u, put), u += size;
  }
}

// Whether a product of `rows` rows over `depth` terms is better computed directly.
CHAINRULE_INLINE bool worth_direct(i64 rows, i64 depth) { return rows <= 2 && depth <= kBlockK; }

// dw[tap] of one output channel over images [begin, end): lanes over the positions of a row, rows, then images.
template <class T>
CHAINRULE_INLINE void depthwise_weight(T* dw, const T* dy, i64 dy_image, const T* x, i64 x_image, i64 begin, i64 end,
                                       const View& view) {
  constexpr i64 size = vec<T>::size;
  for (i64 ty = 0; ty < view.kh; ty++)
    for (i64 tx = 0; tx < view.kw; tx++) {
      vec<T> total(0);
      for (i64 n = begin; n < end; n++)
        for (i64 v = 0; v < view.rows; v++) {
          const T* const g = dy + n * dy_image + v * view.columns;
          vec<T> row(0);
          for (i64 u = 0; u < view.columns; u += size) {
            const i64 lanes = at_most(size, view.columns - u);
            row = fma(load(g + u, lanes), load_tap(x + n * x_image, view, v, u, ty, tx, lanes), row);
          }
          total = total + row;
        }
      dw[ty * view.kw + tx] = sum(total);
    }
}

}  // namespace chainrule::CHAINRULE_ISA
