// Products of few rows, C = A B with A (rows x k) and rows <= kThinRows: every element of B is used a few times only,
// so packing it would cost more than multiplying. B is read once, where it lies: along its rows, or, where it lies
// transposed, in squares that are turned in registers.
//
// Products of few columns, C = A B with B (k x columns) and columns <= kNarrowColumns, are those of few rows,
// C^T = B^T A^T: every element of A is used a few times only. A tile would be mostly padding.
//
// And products of few terms, k <= kShallowTerms, as the weight gradient of a batch of one: writing C is what costs, so
// it is written row by row, from A and B where they lie.
//
// The sums are those of microkernel.h: a chain per block of kBlockK terms, the blocks in ascending order.
#pragma once
#include "sources.h"

namespace chainrule::CHAINRULE_ISA {

constexpr i64 kThinRows = 4;

template <class A, class B>
constexpr bool kThin = false;
template <class T>
constexpr bool kThin<PlainRows<T>, PlainColumns<T>> = true;
template <class T>
constexpr bool kThin<PlainRows<T>, TransposedColumns<T>> = true;

constexpr i64 kShallowTerms = 4;

template <class A, class B>
constexpr bool kShallow = false;
template <class T>
constexpr bool kShallow<PlainRows<T>, PlainColumns<T>> = true;
template <class T>
constexpr bool kShallow<TransposedRows<T>, PlainColumns<T>> = true;

template <class T, class L>
CHAINRULE_INLINE void put_sum(T* c, bool add, vec<T> sum, L lanes) {
  store(c, add ? load(c, lanes) + sum : sum, lanes);
}

// c[r][j] = or += the block's sums for Vecs vecs of columns; `last` lanes of the last one, or Whole. Out of line: there
// is one for each width.
template <int Rows, int Vecs, class L, class T>
CHAINRULE_OUT_OF_LINE void thin_block(T* c, i64 ldc, bool add, L last, const T* a, i64 lda, const T* b, i64 ldb,
                                      i64 depth) {
  constexpr i64 size = vec<T>::size;
  vec<T> sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int v = 0; v < Vecs; v++) sum[r][v] = vec<T>(0);
  constexpr i64 kAhead = 8;  // rows: a run of B is too short for the prefetcher to learn the next
  const T* ahead = b + kAhead * ldb;
  for (i64 k = 0; k < depth; k++, b += ldb, ahead += ldb) {
    asm("" : "+r"(ahead));  // else GCC keeps a register, or makes one, for each of the addresses below
    vec<T> x[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) x[r] = vec<T>(a[r * lda + k]);
#pragma GCC unroll 16
    for (int v = 0; v < Vecs; v++) {
      __builtin_prefetch(ahead + v * size);
      const vec<T> row = v + 1 < Vecs ? load(b + v * size) : load(b + v * size, last);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; r++) sum[r][v] = fma(x[r], row, sum[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int v = 0; v < Vecs; v++) {
      T* const to = c + r * ldc + v * size;
      v + 1 < Vecs ? put_sum(to, add, sum[r][v], Whole()) : put_sum(to, add, sum[r][v], last);
    }
}

// The block of up to Vecs vecs that fits the columns.
template <int Rows, int Vecs, class T>
CHAINRULE_INLINE void thin_block_of(T* c, i64 ldc, bool add, i64 columns, const T* a, i64 lda, const T* b, i64 ldb,
                                    i64 depth) {
  if constexpr (Vecs > 1)
    if (columns <= (Vecs - 1) * vec<T>::size)
      return thin_block_of<Rows, Vecs - 1>(c, ldc, add, columns, a, lda, b, ldb, depth);
  const i64 last = columns - (Vecs - 1) * vec<T>::size;
  if (last == vec<T>::size)
    thin_block<Rows, Vecs>(c, ldc, add, Whole(), a, lda, b, ldb, depth);
  else
    thin_block<Rows, Vecs>(c, ldc, add, last, a, lda, b, ldb, depth);
}

// Along rows of B, as many columns at a time as there are accumulators: long runs, which the prefetcher follows.
template <int Rows, class T>
CHAINRULE_INLINE void thin_columns(T* c, i64 ldc, bool add, i64 columns, const T* a, i64 lda,
                                   const PlainColumns<T>& source, i64 column, i64 begin, i64 end) {
  constexpr int kMost = kTileRows * kTileVecs < 16 ? kTileRows * kTileVecs : 16;
  constexpr int wide = kMost > Rows ? kMost / Rows : 1;
  constexpr i64 size = vec<T>::size;
  // Equal blocks: a narrow one would wait for its few accumulators.
  const i64 vecs = ceil_div(columns, size), blocks = ceil_div(vecs, i64(wide));
  for (i64 k = begin; k < end; k += kBlockK, add = true) {
    const T* const b = source.data + k * source.ld + column;
    for (i64 i = 0; i < blocks; i++) {
      const i64 j = i * vecs / blocks * size, last = at_most(columns, (i + 1) * vecs / blocks * size);
      thin_block_of<Rows, wide>(c + j, ldc, add, last - j, a + k, lda, b + j, source.ld, at_most(kBlockK, end - k));
    }
  }
}

// Out of line: there is one for all numbers of rows.
template <class T>
CHAINRULE_OUT_OF_LINE void turn_part(T* to, const T* from, i64 ld, i64 columns, i64 terms) {
  transpose_square(to, kSquare<T>, from, ld, columns, terms);
}

// Squares of B, turned so that lanes are columns; a register's worth of columns at a time, over all of K: long runs,
// too. What does not fill a square lies in one that holds some columns, or terms, again: they are left out.
template <int Rows, class T>
CHAINRULE_INLINE void thin_columns(T* c, i64 ldc, bool add, i64 columns, const T* a, i64 lda,
                                   const TransposedColumns<T>& source, i64 column, i64 begin, i64 end) {
  constexpr i64 square = kSquare<T>;
  for (i64 done = 0; done < columns;) {
    const i64 first = at_least(i64(0), at_most(done, columns - square)), lanes = at_most(square, columns - first);
    const T* const b = source.data + (column + first) * source.ld;
    native<T> total[Rows] = {};
    for (i64 block = begin; block < end; block += kBlockK) {
      const i64 last = at_most(block + kBlockK, end);
      native<T> sum[Rows] = {};
      const auto add_term = [&](i64 k, native<T> turned) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int r = 0; r < Rows; r++) sum[r] = native_fma(vec<T>(a[r * lda + k]).r[0], turned, sum[r]);
      };
      i64 k = block;
      for (; k + square <= last && lanes == square; k += square)
        transpose_whole(b + k, source.ld, [&](int t, native<T> turned) { add_term(k + t, turned); });
      while (k < last) {
        const i64 from = lanes < square ? k : at_least(begin, at_most(k, last - square));
        const i64 terms = at_most(square, last - from);
        T part[square * square];
        // A short row is read as a whole one where other rows lie behind it.
        const bool whole = (columns - first - square) * source.ld >= from + square - end;
        turn_part(part, b + from, source.ld, lanes, whole ? square : terms);
        for (; k < from + terms; k++) add_term(k, native_load(part + (k - from) * square, square));
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; r++) {
        if (block > begin)
          total[r] = total[r] + sum[r];
        else
          total[r] = add ? native_load(c + r * ldc + first, lanes) + sum[r] : sum[r];
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) {
      T sums[square];
      native_store(sums, total[r], square);
      const i64 known = done - first;
      native_store(c + r * ldc + done, native_load(sums + known, lanes - known), lanes - known);
    }
    done = first + lanes;
  }
}

template <class T, class B, int Rows = int(kThinRows)>
CHAINRULE_INLINE void thin_rows(T* c, i64 ldc, bool add, i64 rows, i64 columns, const T* a, i64 lda, const B& b,
                                i64 column, i64 begin, i64 end) {
  if constexpr (Rows > 1)
    if (rows < Rows) return thin_rows<T, B, Rows - 1>(c, ldc, add, rows, columns, a, lda, b, column, begin, end);
  thin_columns<Rows>(c, ldc, add, columns, a, lda, b, column, begin, end);
}

// c = or += the product of A's rows and B's columns [column, column + columns) over k in [begin, end).
template <class T, class B>
CHAINRULE_OUT_OF_LINE void thin_product(T* c, i64 ldc, bool add, i64 rows, i64 columns, const T* a, i64 lda, const B& b,
                                        i64 column, i64 begin, i64 end) {
  thin_rows(c, ldc, add, rows, columns, a, lda, b, column, begin, end);
}

// Beyond, a vec of columns takes no longer.
template <class T>
constexpr i64 kNarrowColumns = 24 / sizeof(T);

template <class A, class B>
constexpr bool kNarrow = false;
template <class T>
constexpr bool kNarrow<PlainRows<T>, PlainColumns<T>> = true;
template <class T>
constexpr bool kNarrow<PlainRows<T>, TransposedColumns<T>> = true;
template <class T>
constexpr bool kNarrow<TransposedRows<T>, PlainColumns<T>> = true;
template <class T>
constexpr bool kNarrow<TransposedRows<T>, TransposedColumns<T>> = true;

// Rows [row, ...) and k [k, ...) of A as columns of A^T.
template <class T>
CHAINRULE_INLINE TransposedColumns<T> turned(const PlainRows<T>& a, i64 row, i64 k) {
  return {a.data + row * a.ld + k, a.ld};
}
template <class T>
CHAINRULE_INLINE PlainColumns<T> turned(const TransposedRows<T>& a, i64 row, i64 k) {
  return {a.data + k * a.ld + row, a.ld, true};
}
// Some of B^T's rows from term k on: where they lie, or copied, `ld` apart, `*depth` terms at most then.
template <class T>
CHAINRULE_INLINE const T* turned_rows(const TransposedColumns<T>& b, T*, i64 column, i64, i64 k, i64*, i64* ld) {
  *ld = b.ld;
  return b.data + column * b.ld + k;
}
template <class T>
CHAINRULE_INLINE const T* turned_rows(const PlainColumns<T>& b, T* to, i64 column, i64 columns, i64 k, i64* depth,
                                      i64* ld) {
  *ld = kBlockK;
  if (b.ld == 1) return b.data + k;  // the only column
  *depth = at_most(kBlockK, *depth);
  for (i64 i = 0; i < *depth; i++)
    for (i64 j = 0; j < columns; j++) to[j * kBlockK + i] = b.data[(k + i) * b.ld + column + j];
  return to;
}

// c = or += the product of A's rows [row, row + rows) and few of B's columns over k in [begin, end). `spare`: room for
// kThinRows * (kBlockK + rows) elements.
template <class T, class A, class B>
CHAINRULE_INLINE void narrow_product(T* c, i64 ldc, bool add, i64 rows, i64 columns, const A& a, i64 row, const B& b,
                                     i64 column, i64 begin, i64 end, T* spare) {
  T* const sums = spare + kThinRows * kBlockK;
  for (i64 j = 0; j < columns; j += kThinRows) {
    const i64 some = at_most(kThinRows, columns - j);
    for (i64 k = begin, depth; k < end; k += depth) {
      i64 ld;
      depth = end - k;
      const T* const from = turned_rows(b, spare, column + j, some, k, &depth, &ld);
      const bool adds = add || k > begin;
      if (ldc == 1) {
        thin_product(c, 0, adds, some, rows, from, ld, turned(a, row, k), 0, 0, depth);
        continue;
      }
      for (i64 r = 0; r < some && adds; r++)
        for (i64 i = 0; i < rows; i++) sums[r * rows + i] = c[i * ldc + j + r];
      thin_product(sums, rows, adds, some, rows, from, ld, turned(a, row, k), 0, 0, depth);
      for (i64 r = 0; r < some; r++)
        for (i64 i = 0; i < rows; i++) c[i * ldc + j + r] = sums[r * rows + i];
    }
  }
}

template <class T>
CHAINRULE_INLINE T element(const PlainRows<T>& a, i64 i, i64 k) {
  return a.data[i * a.ld + k];
}
template <class T>
CHAINRULE_INLINE T element(const TransposedRows<T>& a, i64 i, i64 k) {
  return a.data[k * a.ld + i];
}

// c = or += the product of A's rows [row, row + rows) and B's columns [column, column + columns) over Terms values of k
// from `begin` on.
template <int Terms, class T, class A>
CHAINRULE_INLINE void shallow_rows(T* c, i64 ldc, bool add, i64 rows, i64 columns, const A& a, i64 row,
                                   const PlainColumns<T>& b, i64 column, i64 begin) {
  const T* const first = b.data + begin * b.ld + column;
  for (i64 r = 0; r < rows; r++, c += ldc) {
    vec<T> x[Terms];
#pragma GCC unroll 4
    for (int t = 0; t < Terms; t++) x[t] = vec<T>(element(a, row + r, begin + t));
    each_vec<T>(
        0, columns, [&](i64 j, auto lanes) __attribute__((always_inline)) {
          vec<T> sum(0);
#pragma GCC unroll 4
          for (int t = 0; t < Terms; t++) sum = fma(x[t], load(first + t * b.ld + j, lanes), sum);
          put_sum(c + j, add, sum, lanes);
        });
  }
}

template <class T, class A, int Terms = int(kShallowTerms)>
CHAINRULE_INLINE void shallow_product(T* c, i64 ldc, bool add, i64 rows, i64 columns, const A& a, i64 row,
                                      const PlainColumns<T>& b, i64 column, i64 begin, i64 end) {
  if constexpr (Terms > 1)
    if (end - begin < Terms)
      return shallow_product<T, A, Terms - 1>(c, ldc, add, rows, columns, a, row, b, column, begin, end);
  shallow_rows<Terms>(c, ldc, add, rows, columns, a, row, b, column, begin);
}

}  // namespace chainrule::CHAINRULE_ISA
