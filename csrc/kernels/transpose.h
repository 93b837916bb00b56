// Transposes blocks of one register's width in registers: the pack of a transposed operand, NCHW to channel blocks.
#pragma once
#include "simd.h"

namespace chainrule::CHAINRULE_ISA {

// The halves of the perfect shuffle of a and b: a0 b0 a1 b1 ...
template <class V, int Lanes>
CHAINRULE_INLINE void interleave(V a, V b, V* low, V* high) {
  static_assert(Lanes == 2 || Lanes == 4 || Lanes == 8 || Lanes == 16, "a register of float or double");
  if constexpr (Lanes == 16) {
    *low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (Lanes == 8) {
    *low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (Lanes == 4) {
    *low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    *high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    *low = __builtin_shufflevector(a, b, 0, 2);
    *high = __builtin_shufflevector(a, b, 1, 3);
  }
}

// Square blocks of this many rows and columns are transposed at once.
template <class T>
constexpr int kSquare = vec<T>::lanes;

// The square whose rows are the registers of x, transposed. Each pass moves one bit of an element's row number below
// its column number; after log2(n) passes they have swapped.
template <class T>
CHAINRULE_INLINE void transpose_registers(native<T>* x) {
  constexpr int n = kSquare<T>;
  native<T> y[n];
#pragma GCC unroll 4
  for (int pass = 1; pass < n; pass *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; i++) interleave<native<T>, n>(x[i], x[i + n / 2], &y[2 * i], &y[2 * i + 1]);
#pragma GCC unroll 16
    for (int i = 0; i < n; i++) x[i] = y[i];
  }
}

// The first `rows` rows and `columns` columns of a square of `in`; the rest counts as zero.
template <class T>
CHAINRULE_INLINE void load_square(native<T>* x, const T* in, i64 in_row, i64 rows, i64 columns) {
  constexpr int n = kSquare<T>;
  if (rows == n && columns == n) {
#pragma GCC unroll 16
    for (int i = 0; i < n; i++) __builtin_memcpy(&x[i], in + i * in_row, kRegisterBytes);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < n; i++) {
      x[i] = native<T>{};
      if (i < rows) x[i] = native_load(in + i * in_row, columns);
    }
  }
}

// out[j * out_row + i] = in[i * in_row + j] for a square, of which the first `rows` rows and `columns` columns of `in`
// are read and the rest counts as zero. All kSquare lanes of `columns` rows of out are written.
template <class T>
CHAINRULE_INLINE void transpose_square(T* out, i64 out_row, const T* in, i64 in_row, i64 rows, i64 columns) {
  constexpr int n = kSquare<T>;
  native<T> x[n];
  load_square(x, in, in_row, rows, columns);
  transpose_registers<T>(x);
#pragma GCC unroll 16
  for (int i = 0; i < n; i++)
    if (i < columns) __builtin_memcpy(out + i * out_row, &x[i], kRegisterBytes);
}

// The same, but nothing beyond the first `rows` lanes of each row of out is written.
template <class T>
CHAINRULE_INLINE void transpose_part(T* out, i64 out_row, const T* in, i64 in_row, i64 rows, i64 columns) {
  constexpr int n = kSquare<T>;
  if (rows == n) return transpose_square(out, out_row, in, in_row, rows, columns);
  native<T> x[n];
  load_square(x, in, in_row, rows, columns);
  transpose_registers<T>(x);
#pragma GCC unroll 16
  for (int i = 0; i < n; i++)
    if (i < columns) native_store(out + i * out_row, x[i], rows);
}

}  // namespace chainrule::CHAINRULE_ISA
