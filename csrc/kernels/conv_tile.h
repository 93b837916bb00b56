// The register tile of convolutions: channels by vecs of positions.
//
//   conv_tile<T>(c, ldc, rows, columns, add, a, b, offset, depth)
//       c[r][p] = (add ? c[r][p] : 0) + sum over k of a[k * kConvRows + r] * b[offset[k] + p]   r < rows, p < columns
//
// Like microkernel.h's tile, with one FMA chain from zero in ascending k; but the rows of b lie where `offset` says, so
// that one copy of a plane serves every tap that sees a shifted run of it. b must be readable to the next whole vec of
// columns; what lies there only reaches lanes that aren't stored.
#pragma once
#include "microkernel.h"

namespace chainrule::CHAINRULE_ISA {

template <class T, int Rows, int Vecs>
__attribute__((noinline)) static void conv_tile_fixed(T* c, i64 ldc, i64 last, bool add, const T* a, const T* b,
                                                      const i32* offset, i64 depth) {
  vec<T> sum[Rows][Vecs];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; v++) sum[r][v] = vec<T>(0);
#pragma GCC unroll 1
  for (i64 k = 0; k < depth; k++, a += kConvRows) {
    const T* const from = b + offset[k];
    vec<T> row[Vecs];
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; v++) row[v] = keep(load(from + v * vec<T>::size));
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const vec<T> x(a[r]);
#pragma GCC unroll 8
      for (int v = 0; v < Vecs; v++) sum[r][v] = fma(x, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; v++) {
      T* const out = c + r * ldc + v * vec<T>::size;
      const i64 lanes = v + 1 < Vecs ? i64(vec<T>::size) : last;
      if (lanes == vec<T>::size)
        store(out, add ? load(out) + sum[r][v] : sum[r][v]);
      else
        store(out, add ? load(out, lanes) + sum[r][v] : sum[r][v], lanes);
    }
}

template <class T, int Vecs, int Rows = kConvRows>
CHAINRULE_INLINE void conv_tile_by_rows(T* c, i64 ldc, i64 rows, i64 last, bool add, const T* a, const T* b,
                                        const i32* offset, i64 depth) {
  if constexpr (Rows > 1)
    if (rows < Rows) return conv_tile_by_rows<T, Vecs, Rows - 1>(c, ldc, rows, last, add, a, b, offset, depth);
  conv_tile_fixed<T, Rows, Vecs>(c, ldc, last, add, a, b, offset, depth);
}

template <class T, int Vecs = kConvVecs>
CHAINRULE_INLINE void conv_tile(T* c, i64 ldc, i64 rows, i64 columns, bool add, const T* a, const T* b,
                                const i32* offset, i64 depth) {
  if constexpr (Vecs > 1)
    if (columns <= (Vecs - 1) * vec<T>::size)
      return conv_tile<T, Vecs - 1>(c, ldc, rows, columns, add, a, b, offset, depth);
  conv_tile_by_rows<T, Vecs>(c, ldc, rows, columns - (Vecs - 1) * vec<T>::size, add, a, b, offset, depth);
}

// The channels of one group cut into tiles of almost equal height, at most kConvRows.
CHAINRULE_INLINE i64 conv_tiles(i64 channels) { return ceil_div(channels, i64(kConvRows)); }
CHAINRULE_INLINE i64 conv_tile_row(i64 tile, i64 channels) { return tile * channels / conv_tiles(channels); }

// The taps that one phase of positions sees along one axis: taps first, first + step, ...
struct TapList {
  i64 count, first, step;
};

// Weights as they lie: of output row r, summed channel c and tap (ky, kx), at r * row + c * channel + ky * kw + kx.
template <class T>
struct Weights {
  const T* data;
  i64 row, channel, kw;

  // Rows [row, row + rows), all of k = (channel, ky, kx), as conv_tile takes them.
  void pack(T* to, i64 from_row, i64 rows, i64 channels, const TapList& y, const TapList& x) const {
    for (i64 r = 0; r < kConvRows; r++) {
      T* out = to + r;
      const T* const from = data + (from_row + r) * row;
      for (i64 c = 0; c < channels; c++)
        for (i64 i = 0; i < y.count; i++) {
          const T* const line = from + c * channel + (y.first + i * y.step) * kw + x.first;
          for (i64 j = 0; j < x.count; j++, out += kConvRows) *out = r < rows ? line[j * x.step] : T(0);
        }
    }
  }
};

}  // namespace chainrule::CHAINRULE_ISA
