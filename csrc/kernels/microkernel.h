// The register tile of every product: kTileRows x kTileVecs vecs of C, sized per ISA in simd_<isa>.h.
//
//   tile_product<T>(c, ldc, rows, columns, add, a, b, ldb, depth)
//       c[r][j] = (add ? c[r][j] : 0) + sum over k of a(r, k) * b[k * ldb + j]     r < rows, j < columns
//
// The sum is one FMA chain from zero in ascending k, whatever the tile, so an element's bits depend on its row of A and
// its column of B alone (docs/numerics.md). depth is at most kBlockK. b is a panel: it must be readable to the next
// whole vec of columns (pack_panel pads with zeros); what the padding makes is not stored.
//
// A is read where it lies, an element for a whole row of the tile at a time, as InRows or, transposed, as InColumns: a
// copy costs more than it saves (5 to 10 % of 100 x 300 x 300). Only rows that fall into one set of the L1 are copied
// to a packed tile (sources.h).
#pragma once
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

// Blocks (kBlockK) are summed in ascending order in spans of this many terms, spans in ascending order.
constexpr i64 kSpanK = 16 * kBlockK;

// Columns of a panel of B.
template <class T>
constexpr i64 kPanel = kTileVecs* vec<T>::size;

// Element (r, k) of A at data[r * ld + k], or at data[k * ld + r]; from(row) begins at that row.
template <class T>
struct InRows {
  const T* data;
  i64 ld;
  CHAINRULE_INLINE InRows from(i64 row) const { return {data + row * ld, ld}; }
};
template <class T>
struct InColumns {
  const T* data;
  i64 ld;
  CHAINRULE_INLINE T operator()(i64 r, i64 k) const { return data[r + k * ld]; }
  CHAINRULE_INLINE InColumns from(i64 row) const { return {data + row, ld}; }
};

// Whether InColumns may have to be packed: short tiles read a term too often to wait for the L2 each time.
constexpr bool kPacksColumns = kTileRows <= 8;

// Rows of a packed tile of A are so far apart, that they fall into different sets of the L1.
template <class T>
constexpr i64 kTilePitch = kBlockK + vec<T>::size;
template <class T>
constexpr i64 kTileSize = kTileRows* kTilePitch<T>;

// B as a tile reads it: row(k) is where row k begins, fetch loads vec number v of it.
template <class T>
struct EvenRows {
  const T* data;
  i64 ld;
  CHAINRULE_INLINE const T* row(i64 k) const { return data + k * ld; }
  static CHAINRULE_INLINE vec<T> fetch(const T* p, int v) { return load(p + v * vec<T>::size); }
};

// The same, and on the way two columns of cache lines are sent for, a row of each at a time: what comes next. All at
// once they would be more than a core can wait for, and hold up what the tile itself reads.
struct Lines {
  const char* at = nullptr;
  i64 step = 0;  // bytes
  CHAINRULE_INLINE void send_for(i64 k) const { __builtin_prefetch(at + k * step, 0, 2); }
};
template <class T>
struct SendingRows {
  const T* data;
  i64 ld;
  Lines next[2];
  CHAINRULE_INLINE const T* row(i64 k) const {
    next[0].send_for(k), next[1].send_for(k);
    return data + k * ld;
  }
  static CHAINRULE_INLINE vec<T> fetch(const T* p, int v) { return load(p + v * vec<T>::size); }
};

// An operand where it lies, copied to its packed layout as it is read: the first tile that wants it packs it in the
// shadow of its products. kAhead rows are on their way to the L2 (the rows of a matrix are often a multiple of 4 KB
// apart, so that the L1 has room for eight of them): 32 take as long as memory does, 250 ns.
constexpr i64 kAhead = 32;

// The elements of a tile of C come while its sums are made: stores that all miss would hold up the next tile (768 x 512
// x 128 into memory: 610 us without, 554 so, 520 where C is near).
template <class T, int Vecs>
CHAINRULE_INLINE void send_for_tile(const T* c, i64 ldc, i64 rows) {
  for (i64 r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) send_for(c + r * ldc + v * vec<T>::size);
}

// The sums of a tile's rows of A over a block of K, for who wants them: chains from zero in ascending k, as a column of
// ones in B would give. Whole registers are summed, kReads elements.
template <class T>
struct RowSums {
  static constexpr i64 kBytes = kTileRows * sizeof(T), kReads = round_up(kBytes, i64(kRegisterBytes)) / sizeof(T);
  static constexpr int lanes = vec<T>::lanes, kRegs = kReads / lanes;
  native<T> total[kRegs] = {};
  CHAINRULE_INLINE void add(const T* from) {
    for (int i = 0; i < kRegs; i++) {
      native<T> x;
      __builtin_memcpy(&x, from + i * lanes, kRegisterBytes);
      total[i] = total[i] + x;
    }
  }
  CHAINRULE_INLINE void put(T* sums, bool add, i64 rows) const {
    for (int i = 0; i < kRegs; i++) {
      T* const to = sums + i * lanes;
      native_store(to, add ? native_load(to, rows - i * lanes) + total[i] : total[i], rows - i * lanes);
    }
  }
};

// A transposed, read for the first time: the next terms are sent for, its rows are summed, and it is packed, kReads
// elements a term. packed, sums: null where nobody wants them.
template <class T>
struct PassedColumns {
  const T* data;
  i64 ld;
  T* packed;
  T* sums;
  bool add_sums;
  CHAINRULE_INLINE T operator()(i64 r, i64 k) const { return data[r + k * ld]; }
  CHAINRULE_INLINE void pass(i64 k, RowSums<T>& along) const {
    along.add(data + k * ld);
    if (kPacksColumns && packed)
      __builtin_memcpy(packed + k * RowSums<T>::kReads, data + k * ld, RowSums<T>::kReads * sizeof(T));
    const T* const ahead = data + (k + kAhead) * ld;
    for (i64 i = 0; i < kTileRows; i += 64 / i64(sizeof(T))) send_for(ahead + i);
  }
};
// A full panel of B.
template <class T>
struct PassedRows {
  const T* data;
  i64 ld;
  T* packed;
  CHAINRULE_INLINE const T* row(i64 k) const { return data + k * ld; }
  static CHAINRULE_INLINE vec<T> fetch(const T* p, int v) { return load(p + v * vec<T>::size); }
  CHAINRULE_INLINE void pass(i64 k, const vec<T>* row) const {
#pragma GCC unroll 4
    for (int v = 0; v < kTileVecs; v++) {
      store(packed + k * kPanel<T> + v * vec<T>::size, row[v]);
      send_for(data + (k + kAhead) * ld + v * vec<T>::size);
    }
  }
};
template <class Operand>
constexpr bool kPasses = false;
template <class T>
inline constexpr bool kPasses<PassedColumns<T>> = true;
template <class T>
inline constexpr bool kPasses<PassedRows<T>> = true;

// What a tile reads of A, a term after the other.
template <class A, int Rows>
struct Walk {
  A a;
  i64 k = 0;
  CHAINRULE_INLINE auto operator()(i64 r) const { return a(r, k); }
  CHAINRULE_INLINE void next() { k++; }
};
// A pointer to every third row: addressing modes reach the next two from there. The compiler is kept from knowing how
// they go on, or it would hold a pointer to each row, more than there are registers.
template <class T, int Rows>
struct Walk<InRows<T>, Rows> {
  static constexpr int kReach = 3, kPointers = (Rows + kReach - 1) / kReach;
  const T* at[kPointers];
  i64 ld;
  CHAINRULE_INLINE explicit Walk(InRows<T> a) : ld(a.ld) {
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; i++) at[i] = a.data + i * kReach * ld;
  }
  CHAINRULE_INLINE T operator()(i64 r) const { return at[r / kReach][r % kReach * ld]; }
  CHAINRULE_INLINE void next() {
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; i++) {
      at[i]++;
      asm("" : "+r"(at[i]));
    }
  }
};

// One tile of fixed size; `last` is the number of columns in its last vec. The accumulators stay in registers because
// every loop over them is unrolled.
template <class T, int Rows, int Vecs, class A, class B>
CHAINRULE_OUT_OF_LINE void tile_fixed(T* c, i64 ldc, i64 last, bool add, A a, B b, i64 depth) {
  vec<T> sum[Rows][Vecs];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) sum[r][v] = vec<T>(0);
  [[maybe_unused]] RowSums<T> along;
  Walk<A, Rows> terms{a};
#pragma GCC unroll 1
  for (i64 k = 0; k < depth; k++) {
    const T* const from = b.row(k);
    vec<T> row[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) row[v] = b.fetch(from, v);
    if constexpr (kPasses<A>) a.pass(k, along);
    if constexpr (kPasses<B>) b.pass(k, row);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const vec<T> x(terms(r));
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; v++) sum[r][v] = fma(x, row[v], sum[r][v]);
    }
    terms.next();
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) {
      T* const out = c + r * ldc + v * vec<T>::size;
      const i64 lanes = v + 1 < Vecs ? i64(vec<T>::size) : last;
      if (lanes == vec<T>::size)
        store(out, add ? load(out) + sum[r][v] : sum[r][v]);
      else
        store(out, add ? load(out, lanes) + sum[r][v] : sum[r][v], lanes);
    }
  if constexpr (kPasses<A>)
    if (a.sums) along.put(a.sums, a.add_sums, Rows);
}

// The tile of up to Rows x Vecs that fits rows x columns.
template <class T, int Rows, int Vecs, class A, class B>
CHAINRULE_INLINE void tile_of(T* c, i64 ldc, i64 rows, i64 columns, bool add, A a, B b, i64 depth) {
  if constexpr (Vecs > 1)
    if (columns <= (Vecs - 1) * vec<T>::size)
      return tile_of<T, Rows, Vecs - 1>(c, ldc, rows, columns, add, a, b, depth);
  if constexpr (Rows > 1)
    if (rows < Rows) return tile_of<T, Rows - 1, Vecs>(c, ldc, rows, columns, add, a, b, depth);
  tile_fixed<T, Rows, Vecs>(c, ldc, columns - (Vecs - 1) * vec<T>::size, add, a, b, depth);
}

template <class T, class A>
CHAINRULE_INLINE void tile_product(T* c, i64 ldc, i64 rows, i64 columns, bool add, A a, const T* b, i64 ldb,
                                   i64 depth) {
  tile_of<T, kTileRows, kTileVecs>(c, ldc, rows, columns, add, a, EvenRows<T>{b, ldb}, depth);
}

// A full panel's product with one of two or more tiles of equal height: these have kLeastEqual rows at least.
constexpr int kLeastEqual = (kTileRows + 1) / 2;
template <int Rows = kTileRows, class T, class A, class B>
CHAINRULE_INLINE void passing_product(T* c, i64 ldc, i64 rows, bool add, A a, B b, i64 depth) {
  if constexpr (Rows > kLeastEqual)
    if (rows < Rows) return passing_product<Rows - 1>(c, ldc, rows, add, a, b, depth);
  tile_fixed<T, Rows, kTileVecs>(c, ldc, vec<T>::size, add, a, b, depth);
}

}  // namespace chainrule::CHAINRULE_ISA
