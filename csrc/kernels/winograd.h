// Winograd's minimal filtering F(2x2, 3x3): four outputs of a 3 x 3 window from 16 products instead of 36 (Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). A tile is 2 x 2 outputs, or the 4 x 4 pixels that
// they see. With v the transform of its pixels, u that of the weights, * element by element:
//
//   outputs  = A^T (sum over channels of u * v) A      v = B^T d B                 u = G g G^T
//   weights' gradient = G^T (sum over tiles of e * v) G                            e = A dy A^T
//
//         1  0 -1  0            1    0    0            1  0
//   B^T = 0  1  1  0       G = .5   .5   .5       A =  1  1
//         0 -1  1  0           .5  -.5   .5            1 -1
//         0 -1  0  1            0    0    1            0  1
//
// Transforms work on vecs of channels, so that planes of any width do: an image is copied to lanes (lanes.h) first. The
// 16 elements of a transform lie in planes of their own, `pitch` elements apart, for the 16 products of matrices in
// between.
#pragma once
#include "conv_tile.h"
#include "lanes.h"
#include "view.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int kElements = 16;  // of a transform

// A part of an image in lanes: pixel (y, x) of it begins at data[((y - top) * width + x - left) * vec size].
template <class T>
struct Lanes {
  const T* data;
  i64 top, left, height, width;
  const T* zeros;  // a row of them
};

// The register at p.
template <class T>
CHAINRULE_INLINE native<T> pick(const T* p) {
  native<T> x;
  __builtin_memcpy(&x, p, kRegisterBytes);
  return x;
}
template <class T>
CHAINRULE_INLINE void put(T* p, native<T> x) {
  __builtin_memcpy(p, &x, kRegisterBytes);
}

// Where the elements of a transform go, or come from: rows of four planes. Pointers that step, not sixteen of them:
// an address is a pointer and a multiple of a register.
template <class T>
struct Elements {
  T* at;
  i64 pitch, thrice;
  CHAINRULE_INLINE Elements(T* first, i64 pitch) : at(first), pitch(pitch), thrice(3 * pitch) { hide(thrice); }
  CHAINRULE_INLINE T* plane(int j) const { return j == 3 ? at + thrice : at + j * pitch; }
  CHAINRULE_INLINE void next_row() { hide(at += 4 * pitch); }

 private:
  // What the compiler can't see through, it doesn't compute in another way.
  template <class V>
  static CHAINRULE_INLINE void hide(V& v) {
    asm("" : "+r"(v));
  }
};

// B^T d for one column of four.
template <class T>
CHAINRULE_INLINE void filter_input(native<T>* out, native<T> d0, native<T> d1, native<T> d2, native<T> d3) {
  out[0] = d0 - d2, out[1] = d1 + d2, out[2] = d2 - d1, out[3] = d3 - d1;
}

// v of rows x columns tiles, the first of which has its corner at (y, x); what lies outside of the image is zero. Tile
// t goes to out[e * pitch + t * vec size].
template <class T>
CHAINRULE_OUT_OF_LINE void input_tiles(T* out, i64 pitch, Lanes<T> image, i64 y, i64 x, i64 rows, i64 columns) {
  constexpr i64 size = vec<T>::size;
  y -= image.top, x -= image.left;
  for (i64 v = 0; v < rows; v++, y += 2, out += columns * size)
    for (i64 part = 0; part < size; part += vec<T>::lanes) {
      const T* line[4];
      for (i64 i = 0; i < 4; i++) {
        const bool inside = y + i >= 0 && y + i < image.height;
        line[i] = (inside ? image.data + (y + i) * image.width * size : image.zeros) + part;
      }
      native<T> column[4][4];
      const auto read = [&](native<T>* to, i64 at) {
        filter_input<T>(to, pick(line[0] + at), pick(line[1] + at), pick(line[2] + at), pick(line[3] + at));
      };
      const auto read_inside = [&](native<T>* to, i64 at) {
        if (at >= 0 && at < image.width) return read(to, at * size);
        to[0] = to[1] = to[2] = to[3] = native<T>{};
      };
      read_inside(column[0], x), read_inside(column[1], x + 1);
#pragma GCC unroll 1
      for (i64 u = 0, at = x + 2; u < columns; u++, at += 2) {
        if (at >= 0 && at + 1 < image.width)
          read(column[2], at * size), read(column[3], at * size + size);
        else
          read_inside(column[2], at), read_inside(column[3], at + 1);
        Elements<T> to(out + u * size + part, pitch);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, to.next_row()) {
          native<T> row[4];
          filter_input<T>(row, column[0][i], column[1][i], column[2][i], column[3][i]);
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) put<T>(to.plane(j), row[j]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) column[0][i] = column[2][i], column[1][i] = column[3][i];
      }
    }
}

// e of the tiles of an output's gradient, like input_tiles; (y, x) is the first tile's first output.
template <class T>
CHAINRULE_OUT_OF_LINE void gradient_tiles(T* out, i64 pitch, Lanes<T> image, i64 y, i64 x, i64 rows, i64 columns) {
  constexpr i64 size = vec<T>::size;
  y -= image.top, x -= image.left;
  const auto expand = [](native<T>* to, native<T> a, native<T> b) {
    to[0] = a, to[1] = a + b, to[2] = a - b, to[3] = b;
  };
  for (i64 v = 0; v < rows; v++, y += 2) {
    const T* const top = image.data + y * image.width * size;
    const T* const low = y + 1 < image.height ? top + image.width * size : image.zeros;
    for (i64 u = 0, at = x * size; u < columns; u++, at += 2 * size, out += size)
#pragma GCC unroll 1
      for (i64 part = 0; part < size; part += vec<T>::lanes) {
        native<T> left[4], right[4] = {};
        expand(left, pick(top + at + part), pick(low + at + part));
        if (x + 2 * u + 1 < image.width) expand(right, pick(top + at + size + part), pick(low + at + size + part));
        Elements<T> to(out + part, pitch);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, to.next_row()) {
          native<T> row[4];
          expand(row, left[i], right[i]);
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) put<T>(to.plane(j), row[j]);
        }
      }
  }
}

// The outputs of rows x columns tiles whose sums lie at sums[e * pitch + t * step], plus the bias of their channels, to
// height x width pixels in lanes. Returns false if one isn't finite.
template <class T>
CHAINRULE_OUT_OF_LINE bool output_tiles(T* lanes, i64 height, i64 width, const T* sums, i64 pitch, i64 step,
                                        vec<T> bias, i64 rows, i64 columns) {
  constexpr i64 size = vec<T>::size;
  const auto fold = [](native<T> m0, native<T> m1, native<T> m2, native<T> m3, native<T>* first, native<T>* second) {
    *first = m0 + (m1 + m2), *second = (m1 - m2) + m3;
  };
  const native<T> zero{};
  vec<T> odd(0);  // a NaN from an infinity or a NaN
  for (i64 v = 0; v < rows; v++, lanes += 2 * width * size) {
    const bool second_row = 2 * v + 1 < height;
    for (i64 u = 0; u < columns; u++, sums += step) {
      const bool second_column = 2 * u + 1 < width;
#pragma GCC unroll 1
      for (int r = 0; r < kRegisters; r++) {
        native<T> sum[4][4], top[4], low[4], y[4];
        Elements<const T> from(sums + r * vec<T>::lanes, pitch);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, from.next_row())
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) sum[i][j] = pick(from.plane(j));
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) fold(sum[0][j], sum[1][j], sum[2][j], sum[3][j], &top[j], &low[j]);
        fold(top[0], top[1], top[2], top[3], &y[0], &y[1]);
        fold(low[0], low[1], low[2], low[3], &y[2], &y[3]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          y[i] = y[i] + bias.r[r];
          odd.r[r] = native_fma(y[i], zero, odd.r[r]);
        }
        T* const to = lanes + 2 * u * size + r * vec<T>::lanes;
        put<T>(to, y[0]);
        if (second_column) put<T>(to + size, y[1]);
        if (second_row) put<T>(to + width * size, y[2]);
        if (second_row && second_column) put<T>(to + width * size + size, y[3]);
      }
    }
  }
  T all[size];
  store(all, odd);
  for (i64 i = 0; i < size; i++)
    if (all[i] != 0) return false;
  return true;
}

// u of one summed channel for a panel of outputs: out[e * pitch + j], j < kPanel, zero from `outputs` on. weights: of
// the first output; those of the next are `row` elements on. flip: the window is turned by 180 degrees.
template <class T>
CHAINRULE_INLINE void weight_panel(T* out, i64 pitch, const T* weights, i64 row, i64 outputs, bool flip) {
  T taps[9][kPanel<T>];
  for (i64 j = 0; j < kPanel<T>; j++)
    for (int t = 0; t < 9; t++) taps[t][j] = j < outputs ? weights[j * row + (flip ? 8 - t : t)] : T(0);
  const auto expand = [](native<T>* to, native<T> a, native<T> b, native<T> c) {
    const native<T> sum = (a + c) * T(0.5), half = b * T(0.5);
    to[0] = a, to[1] = sum + half, to[2] = sum - half, to[3] = c;
  };
  for (i64 j = 0; j < kPanel<T>; j += vec<T>::lanes) {
    native<T> column[3][4];
    for (int t = 0; t < 3; t++) expand(column[t], pick(taps[t] + j), pick(taps[3 + t] + j), pick(taps[6 + t] + j));
    for (int i = 0; i < 4; i++) {
      native<T> line[4];
      expand(line, column[0][i], column[1][i], column[2][i]);
      for (int t = 0; t < 4; t++) put<T>(out + (4 * i + t) * pitch + j, line[t]);
    }
  }
}

// Taps, of a vec of summed channels, of a weight gradient: taps[t][lane] = G^T s G for s at sums[e * pitch].
template <class T>
CHAINRULE_INLINE void weight_taps(T (*taps)[vec<T>::size], const T* sums, i64 pitch) {
  const auto fold = [](native<T>* to, native<T> a, native<T> b, native<T> c, native<T> d) {
    const native<T> sum = (b + c) * T(0.5);
    to[0] = a + sum, to[1] = (b - c) * T(0.5), to[2] = sum + d;
  };
  for (i64 j = 0; j < vec<T>::size; j += vec<T>::lanes) {
    native<T> column[4][3];
    for (int t = 0; t < 4; t++)
      fold(column[t], pick(sums + t * pitch + j), pick(sums + (4 + t) * pitch + j), pick(sums + (8 + t) * pitch + j),
           pick(sums + (12 + t) * pitch + j));
    for (int i = 0; i < 3; i++) {
      native<T> line[3];
      fold(line, column[0][i], column[1][i], column[2][i], column[3][i]);
      for (int t = 0; t < 3; t++) put<T>(&taps[3 * i + t][j], line[t]);
    }
  }
}

}  // namespace chainrule::CHAINRULE_ISA
