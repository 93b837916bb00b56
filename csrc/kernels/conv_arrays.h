// What all ways of convolving take: the weights as they lie, and the arrays.
#pragma once
#include "epilogue.h"
#include "lanes.h"
#include "microkernel.h"
#include "view.h"

namespace chainrule::CHAINRULE_ISA {

// Weights as they lie: of output row r, summed channel c and tap (ky, kx), at r * row + c * channel + ky * kw + kx; the
// next group's `group` elements on.
template <class T>
struct Weights {
  const T* data;
  i64 row, channel, kw, group;

  CHAINRULE_INLINE const T* at(i64 g, i64 r, i64 c = 0) const { return data + g * group + r * row + c * channel; }

  // A tile of group g, Rows of them for each k: rows [from_row, from_row + rows), all of k = (channel, ky, kx).
  template <int Rows = kConvRows>
  void pack(T* to, i64 g, i64 from_row, i64 rows, i64 channels, const TapList& y, const TapList& x) const {
    for (i64 r = 0; r < Rows; r++) {
      T* out = to + r;
      for (i64 c = 0; c < channels; c++)
        for (i64 i = 0; i < y.count; i++) {
          const T* const line = at(g, from_row + r, c) + (y.first + i * y.step) * kw + x.first;
          for (i64 j = 0; j < x.count; j++, out += Rows) *out = r < rows ? line[j * x.step] : T(0);
        }
    }
  }
};

// y = f(x * w + bias + residual)
template <class T>
struct ConvArrays {
  T* y;
  const T* x;
  Weights<T> w;
  Epilogue<T> epilogue;
};

// The products that are to be computed: all, or those of which one of `parts` marks isn't 0.
template <class T>
struct Wanted {
  const T* marks = nullptr;
  i64 parts = 0;
  CHAINRULE_INLINE bool operator()(i64 product) const {
    for (i64 i = 0; i < parts; i++)
      if (marks[product * parts + i] != 0) return true;
    return !marks;
  }
  CHAINRULE_INLINE bool any(i64 products) const {
    for (i64 i = 0; i < products; i++)
      if ((*this)(i)) return true;
    return false;
  }
};

template <class T>
CHAINRULE_INLINE bool all_finite(const T* x, i64 n) {
  vec<T> odd(0);
  each_vec<T>(0, n, [&](i64 i, auto lanes) { odd = fma(load(x + i, lanes), vec<T>(0), odd); });
  return sum(odd) == 0;
}

// to = the sum of `parts` arrays of n elements that follow each other, in ascending order.
template <class T>
CHAINRULE_INLINE void add_partials(Team& team, T* to, const T* partials, i64 parts, i64 n) {
  parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) {
    vec<T> total(0);
    for (i64 part = 0; part < parts; part++) total = total + load(partials + part * n + i, lanes);
    store(to + i, total, lanes);
  });
}

// Lanes that bias and, without a residual, activation have been applied to, to height x width pixels of y, and what is
// left to be done there. step: from a pixel's lanes to the next; row: from a row of y to the next.
template <class T>
CHAINRULE_INLINE void finish_in_image(T* y, const T* lanes, i64 step, const Images& at, i64 row, i64 channels,
                                      i64 height, i64 width, const Epilogue<T>& epilogue) {
  from_lanes(y, lanes, step, at, row, channels, height, width);
  if (!epilogue.residual) return;
  const RowEpilogue<T> rest = after_moving(epilogue);
  const bool gaps = width * at.pixel != row;
  const i64 runs = gaps ? height : 1, pixels = gaps ? width : height * width;
  for (i64 i = 0; i < runs; i++, y += row)
    at.planar() ? rest(y, at.channel, 0, channels, 0, pixels) : rest(y, at.pixel, 0, pixels, 0, channels);
}

// Sends for what finish_in_image will read of the residual: runs too short for the prefetcher to foresee.
template <class T>
CHAINRULE_INLINE void send_for_part(const T* residual, const Images& at, i64 row, i64 channels, i64 height, i64 width) {
  constexpr i64 line = 64 / sizeof(T);
  const i64 runs = at.planar() ? channels : width, run = at.planar() ? width : channels;
  const i64 next = at.planar() ? at.channel : at.pixel;
  for (i64 y = 0; y < height; y++, residual += row)
    for (i64 i = 0; i < runs; i++)
      for (i64 j = 0; j < run; j += line) send_for(residual + i * next + j);
}

}  // namespace chainrule::CHAINRULE_ISA
