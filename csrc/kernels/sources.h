// Where the operands of a product come from. The plain ones are here; an implicit product brings its own.
//
// A source of A has
//     InRows<T> or InColumns<T> tile(T* packed, i64 row, i64 rows, i64 k, i64 depth) const
// which gives rows [row, row + rows) of A's columns [k, k + depth), where they lie or copied to `packed`.
//
// A source of B has
//     const T* panel(T* packed, i64 column, i64 columns, i64 k, i64 depth, i64* stride) const
// which gives rows [k, k + depth) of B's columns [column, column + columns), columns <= kPanel, `*stride` apart: either
// where they lie (full panels only) or copied to `packed`, rows of kPanel, zeros after the last column. An implicit
// product (convolution) is a source of its own.
#pragma once
#include "microkernel.h"
#include "transpose.h"

namespace chainrule::CHAINRULE_ISA {

// A in memory: element (i, k) at data[i * ld + k].
template <class T>
struct PlainRows {
  const T* data;
  i64 ld;
  CHAINRULE_INLINE InRows<T> tile(T* packed, i64 row, i64 rows, i64 k, i64 depth) const {
    const InRows<T> from{data + row * ld + k, ld};
    if (!crowded()) return from;
    for (i64 r = 0; r < rows; r++)
      each_vec<T>(0, depth, [&](i64 i, auto lanes) {
        store(packed + r * kTilePitch<T> + i, load(from.data + r * ld + i, lanes));
      });
    return {packed, kTilePitch<T>};
  }
  // Whether more of a tile's rows begin in one set of the L1 than the seven that it has room for beside B: sets repeat
  // every 4 KB (32 KB in 8 ways; a larger L1 has more ways). 128 x 1024 x 256 in place took 1.8 times as long.
  CHAINRULE_INLINE bool crowded() const {
    constexpr i64 kPeriod = 4096, kLine = 64, kRoom = 7;
    const i64 apart = (ld * i64(sizeof(T)) + kPeriod / 2) % kPeriod - kPeriod / 2;
    return kTileRows > kRoom && at_least(apart, -apart) * kRoom < kLine;
  }
};

// A transposed in memory: element (i, k) at data[k * ld + i], i < size. `sums`, where not null, gets the rows' sums
// over each span of K (or has the first span's added), `size` of them a span: from the chunks of the first columns.
template <class T>
struct TransposedRows {
  const T* data;
  i64 ld, size;
  T* sums = nullptr;
  bool add_sums = false;
  static constexpr i64 kReads = RowSums<T>::kReads;
  CHAINRULE_INLINE InColumns<T> tile(T* packed, i64 row, i64 rows, i64 k, i64 depth) const {
    RowSums<T> all;
    const bool packs = crowded();
    if (packs || sums)
      for (i64 i = 0; i < depth; i++) {
        // Past the tile's rows whole registers may read on, not past A's.
        const T* from = data + (k + i) * ld + row;
        T line[kReads] = {};
        if (size - row < kReads) {
          for (i64 r = 0; r < rows; r++) line[r] = from[r];
          from = line;
        }
        all.add(from);
        if (packs) __builtin_memcpy(packed + i * kReads, from, kReads * sizeof(T));
      }
    if (sums) all.put(sums_of(row, k), adds(k), rows);
    return passed_tile(packed, row, k);
  }
  // The first panel's products may pack the tile, which the others then find here.
  CHAINRULE_INLINE PassedColumns<T> passed(T* packed, i64 row, i64 k) const {
    return {data + k * ld + row, ld, crowded() ? packed : nullptr, sums ? sums_of(row, k) : nullptr, adds(k)};
  }
  CHAINRULE_INLINE InColumns<T> passed_tile(const T* packed, i64 row, i64 k) const {
    return crowded() ? InColumns<T>{packed, kReads} : InColumns<T>{data + k * ld + row, ld};
  }
  CHAINRULE_INLINE const T* first(i64 row, i64 k) const { return data + k * ld + row; }
  CHAINRULE_INLINE i64 width(i64 rows, i64) const { return rows; }

 private:
  CHAINRULE_INLINE T* sums_of(i64 row, i64 k) const { return sums + k / kSpanK * size + row; }
  CHAINRULE_INLINE bool adds(i64 k) const { return add_sums || k % kSpanK > 0; }
  // Whether terms lie so far apart that the L1 has room for 32 lines of them at most.
  CHAINRULE_INLINE bool crowded() const {
    const i64 step = ld * i64(sizeof(T));
    return kPacksColumns && step % 1024 == 0;
  }
};

// B in memory, element (k, j) at data[k * ld + j]. With `direct`, full panels are read where they lie: right for few
// rows of A, or for an ld so small that a panel's rows spread over the sets of the L1.
template <class T>
struct PlainColumns {
  const T* data;
  i64 ld;
  bool direct;
  CHAINRULE_INLINE const T* first(i64 column, i64 k) const { return data + k * ld + column; }
  CHAINRULE_INLINE i64 width(i64 columns, i64) const { return columns; }
  CHAINRULE_INLINE const T* panel(T* packed, i64 column, i64 columns, i64 k, i64 depth, i64* stride) const {
    const T* from = data + k * ld + column;
    *stride = ld;
    if (direct && columns == kPanel<T>) return from;
    *stride = kPanel<T>;
    const bool full = columns == kPanel<T>;
    for (i64 i = 0; i < depth; i++, from += ld)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVecs; v++) {
        const T* const p = from + v * vec<T>::size;
        store(packed + i * kPanel<T> + v * vec<T>::size, full ? load(p) : load(p, columns - v * vec<T>::size));
      }
    return packed;
  }
};

// B transposed in memory: element (k, j) at data[j * ld + k].
template <class T>
struct TransposedColumns {
  const T* data;
  i64 ld;
  CHAINRULE_INLINE const T* first(i64 column, i64 k) const { return data + column * ld + k; }
  CHAINRULE_INLINE i64 width(i64, i64 depth) const { return depth; }
  CHAINRULE_INLINE const T* panel(T* packed, i64 column, i64 columns, i64 k, i64 depth, i64* stride) const {
    *stride = kPanel<T>;
    const T* const from = data + column * ld + k;
    for (i64 j = 0; j < kPanel<T>; j += kSquare<T>)
      each_square<T>(depth, [&](i64 i, i64 count) {
        // What the next squares of these terms read: memory is far slower than transposing.
        const T* const next = from + (j + kSquare<T>)*ld + i;
#pragma GCC unroll 4
        for (i64 r = 0; r < kSquare<T>; r++) send_for(next + r * ld);
        transpose_square(packed + i * kPanel<T> + j, kPanel<T>, from + j * ld + i, ld,
                         at_least(i64(0), at_most(i64(kSquare<T>), columns - j)), count);
      });
    return packed;
  }
};

// A as a chunk that begins at this column reads it.
template <class A>
CHAINRULE_INLINE A for_columns(A a, i64) {
  return a;
}
template <class T>
CHAINRULE_INLINE TransposedRows<T> for_columns(TransposedRows<T> a, i64 column) {
  if (column > 0) a.sums = nullptr;
  return a;
}
template <class A>
CHAINRULE_INLINE bool has_sums(const A&) {
  return false;
}
template <class T>
CHAINRULE_INLINE bool has_sums(const TransposedRows<T>& a) {
  return a.sums;
}

// How many rows of B are packed at a time, all panels of them, before the next rows.
template <class B>
constexpr i64 kStrip = kBlockK;
// A panel's part of a row is a cache line or two; rows may lie pages apart.
template <class T>
constexpr i64 kStrip<PlainColumns<T>> = 16;

// Whether the products of an operand's first tile can pack it on the way (microkernel.h): where packing is a copy of
// what such a tile reads anyway.
template <class Source>
constexpr bool kPassable = false;
template <class T>
constexpr bool kPassable<TransposedRows<T>> = true;
template <class T>
constexpr bool kPassable<PlainColumns<T>> = true;

// Whether packing an operand takes so long that a thread keeps what it has packed for the next part (grid.h).
template <class Source>
constexpr bool kKeeps = false;
template <class T>
constexpr bool kKeeps<TransposedColumns<T>> = true;

// Sends for rows [row, row + rows) of A's columns [k, k + depth), which are read next.
template <class A>
CHAINRULE_INLINE void send_for(const A&, i64, i64, i64, i64) {}
template <class T>
CHAINRULE_INLINE void send_for(const PlainRows<T>& a, i64 row, i64 rows, i64 k, i64 depth) {
  for (i64 r = row; r < row + rows; r++)
    for (i64 i = 0; i < depth; i += 64 / i64(sizeof(T))) send_for(a.data + r * a.ld + k + i);
}

// Whether a block of an operand is sent for in time as columns of cache lines, a row of each at a time: first(r, k) is
// where its rows begin, width() how long they are. Rows of A are sent for otherwise (above).
template <class Source>
constexpr bool kSends = false;
template <class T>
constexpr bool kSends<TransposedRows<T>> = true;
template <class T>
constexpr bool kSends<PlainColumns<T>> = true;
template <class T>
constexpr bool kSends<TransposedColumns<T>> = true;

}  // namespace chainrule::CHAINRULE_ISA
