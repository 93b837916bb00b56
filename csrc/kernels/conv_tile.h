// The register tile of convolutions: channels by vecs of positions.
//
//   conv_tile<T>(c, ldc, rows, columns, add, a, b, offset, depth)
//       c[r][p] = (add ? c[r][p] : 0) + sum over k of a[k * kConvRows + r] * b[offset[k] + p]   r < rows, p < columns
//
// The tile of microkernel.h, but the rows of b lie where `offset` says, so that one copy of a plane serves every tap
// that sees a shifted run of it. b must be readable to the next whole vec of
// columns; what lies there only reaches lanes that aren't stored.
#pragma once
#include "microkernel.h"

namespace chainrule::CHAINRULE_ISA {

// The packed weights of a tile: kConvRows channels for each k.
template <class T>
struct ByChannel {
  const T* data;
  CHAINRULE_INLINE T operator()(i64 r, i64 k) const { return data[k * kConvRows + r]; }
};

// Rows of B at offsets: most cross cache lines, so each is loaded once.
template <class T>
struct ShiftedRows {
  const T* data;
  const i32* offset;
  CHAINRULE_INLINE const T* row(i64 k) const { return data + offset[k]; }
  static CHAINRULE_INLINE vec<T> fetch(const T* p, int v) { return keep(load(p + v * vec<T>::size)); }
};

template <class T>
CHAINRULE_INLINE void conv_tile(T* c, i64 ldc, i64 rows, i64 columns, bool add, const T* a, const T* b,
                                const i32* offset, i64 depth) {
  tile_of<T, kConvRows, kConvVecs>(c, ldc, rows, columns, add, ByChannel<T>{a}, ShiftedRows<T>{b, offset}, depth);
}

// The channels of one group cut into tiles of almost equal height, at most Rows.
template <int Rows = kConvRows>
CHAINRULE_INLINE i64 conv_tiles(i64 channels) {
  return ceil_div(channels, i64(Rows));
}
template <int Rows = kConvRows>
CHAINRULE_INLINE i64 conv_tile_row(i64 tile, i64 channels) {
  return tile * channels / conv_tiles<Rows>(channels);
}

}  // namespace chainrule::CHAINRULE_ISA
