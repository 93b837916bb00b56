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
// Of which smaller squares of this side, in pieces of 16 bytes, are what a register's shuffles transpose cheaply.
template <class T>
constexpr int kPiece = 16 / int(sizeof(T));

// interleave within each piece.
template <class T>
CHAINRULE_INLINE void interleave_pieces(native<T> a, native<T> b, native<T>* low, native<T>* high) {
  constexpr int n = vec<T>::lanes;
  if constexpr (n == kPiece<T>) {
    interleave<native<T>, n>(a, b, low, high);
  } else if constexpr (n == 16) {
    *low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    *high = __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  } else if constexpr (n == 8 && kPiece<T> == 4) {
    *low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    *high = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  } else if constexpr (n == 8) {
    *low = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
    *high = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  } else {
    *low = __builtin_shufflevector(a, b, 0, 4, 2, 6);
    *high = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  }
}

// put(j, column j) for every column of a whole square of `in`. Loads of pieces do half of the work: a register holds
// those of rows r, r + piece, ...; all of these rows at once, because rows may fall into one set of the L1.
template <class T, class Put>
CHAINRULE_INLINE void transpose_whole(const T* in, i64 in_row, Put&& put) {
  constexpr int n = kSquare<T>, piece = kPiece<T>;
  native<T> x[n];
#pragma GCC unroll 4
  for (int r = 0; r < piece; r++)
#pragma GCC unroll 8
    for (int first = 0; first < n; first += piece) {
      const char* const from = reinterpret_cast<const char*>(in + r * in_row + first);
      x[first + r] = (native<T>)native_pieces(from, piece * in_row * i64(sizeof(T)));
    }
#pragma GCC unroll 8
  for (int first = 0; first < n; first += piece) {
    native<T>* const square = x + first;
    // Each pass moves one bit of an element's row number below its column number, in every piece.
#pragma GCC unroll 2
    for (int pass = 1; pass < piece; pass *= 2) {
      native<T> y[piece];
#pragma GCC unroll 2
      for (int i = 0; i < piece / 2; i++)
        interleave_pieces<T>(square[i], square[i + piece / 2], &y[2 * i], &y[2 * i + 1]);
#pragma GCC unroll 4
      for (int i = 0; i < piece; i++) square[i] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < piece; i++) put(first + i, square[i]);
  }
}

// The same of the first `rows` rows and `columns` columns; the rest counts as zero.
template <class T, class Put>
CHAINRULE_INLINE void transpose_any(const T* in, i64 in_row, i64 rows, i64 columns, Put&& put) {
  constexpr int n = kSquare<T>;
  if (rows == n && columns == n) return transpose_whole(in, in_row, put);
  T whole[n * n];
#pragma GCC unroll 1
  for (int i = 0; i < n; i++) {
    const native<T> x = i < rows ? native_load(in + i * in_row, columns) : native<T>{};
    __builtin_memcpy(whole + i * n, &x, kRegisterBytes);
  }
  transpose_whole(whole, n, [&](int j, native<T> x) {
    if (j < columns) put(j, x);
  });
}

// out[j * out_row + i] = in[i * in_row + j] for a square, of which the first `rows` rows and `columns` columns of `in`
// are read and the rest counts as zero. All kSquare lanes of `columns` rows of out are written.
template <class T>
CHAINRULE_INLINE void transpose_square(T* out, i64 out_row, const T* in, i64 in_row, i64 rows, i64 columns) {
  transpose_any(in, in_row, rows, columns,
                [&](int j, native<T> x) { __builtin_memcpy(out + j * out_row, &x, kRegisterBytes); });
}

// The same, but nothing beyond the first `rows` lanes of each row of out is written.
template <class T>
CHAINRULE_INLINE void transpose_part(T* out, i64 out_row, const T* in, i64 in_row, i64 rows, i64 columns) {
  if (rows == kSquare<T>) return transpose_square(out, out_row, in, in_row, rows, columns);
  transpose_any(in, in_row, rows, columns, [&](int j, native<T> x) { native_store(out + j * out_row, x, rows); });
}

// body(first, count) for the squares of a run of n elements. Part of a square is dear: where there are enough elements
// the last one is whole and takes some again.
template <class T, class F>
CHAINRULE_INLINE void each_square(i64 n, F&& body) {
  constexpr i64 square = kSquare<T>;
  if (n < square && n > 0) return body(0, n);
  for (i64 i = 0; i < n; i += square) body(i < n - square ? i : n - square, square);
}

}  // namespace chainrule::CHAINRULE_ISA
