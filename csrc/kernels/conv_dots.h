// The register tile of weight gradients: dot products of rows of dy with shifted runs of x, in lanes over positions.
//
//   dots<T>(sums, row, outputs, terms, dy, x, offset, block)
//       sums[o * row + k] (+)= sum over images and positions p of dy[o][p] * x[offset[k] + p]
//
// No operand is transposed and no channel is padded: both are read along their rows. The order: lane by lane over the
// positions of an image, image after image, each lane one FMA chain from zero; then the lanes in a tree.
#pragma once
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

// What a tile sums over, and the strides of what it reads.
struct DotBlock {
  i64 images, positions;
  i64 dy_channel, dy_image;  // elements from an output channel to the next, from an image to the next
  i64 x_image;
  bool add;
};

// The sums of the lanes of Count vecs, at most vec<T>::size: neighbours first, then neighbouring pairs, and so on.
template <class T, int Count>
CHAINRULE_INLINE vec<T> sum_lanes(const vec<T>* v) {
  constexpr int size = vec<T>::size;
  vec<T> x[size];
#pragma GCC unroll 16
  for (int i = 0; i < size; i++) x[i] = i < Count ? v[i] : vec<T>(0);
#pragma GCC unroll 4
  for (int left = size, level = 1; left > 1; left /= 2, level *= 2)
#pragma GCC unroll 8
    for (int i = 0; i < left / 2; i++)
      if (2 * i * level < Count) x[i] = even(x[2 * i], x[2 * i + 1]) + odd(x[2 * i], x[2 * i + 1]);
  return x[0];
}

// sums[o * row + k] = or += the sum of the lanes of sum[o][k].
template <class T, int Outputs, int Terms>
CHAINRULE_INLINE void put_dots(T* sums, i64 row, bool add, const vec<T> (&sum)[Outputs][Terms]) {
  constexpr i64 size = vec<T>::size;
  constexpr int kCount = Outputs * Terms;
  vec<T> flat[round_up(kCount, size)];
  T found[round_up(kCount, size)];
#pragma GCC unroll 8
  for (int o = 0; o < Outputs; o++)
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) flat[o * Terms + k] = sum[o][k];
#pragma GCC unroll 8
  for (int i = 0; i < kCount / size; i++) store(found + i * size, sum_lanes<T, size>(flat + i * size));
  if constexpr (kCount % size > 0)
    store(found + kCount / size * size, sum_lanes<T, kCount % size>(flat + kCount / size * size));
#pragma GCC unroll 8
  for (int o = 0; o < Outputs; o++)
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) sums[o * row + k] = (add ? sums[o * row + k] : T(0)) + found[o * Terms + k];
}

// sum[o][k] += g[o][at ...] * from[k][seen ...], lane by lane. A register of each at a time: few are in use besides the
// sums, and what a tile reads is read once.
template <class T, int Outputs, int Terms, class L>
CHAINRULE_INLINE void add_dots(vec<T> (&sum)[Outputs][Terms], const T* const (&g)[Outputs], i64 at,
                               const T* const (&from)[Terms], i64 seen, L lanes) {
#pragma GCC unroll 4
  for (int r = 0; r < kRegisters; r++) {
    const auto part = [&](const T* p) {
      native<T> x;
      if constexpr (kWhole<L>)
        __builtin_memcpy(&x, p + r * vec<T>::lanes, kRegisterBytes);
      else
        x = native_load(p + r * vec<T>::lanes, lanes - r * vec<T>::lanes);
      return native_keep(x);
    };
    native<T> x[Terms];
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) x[k] = part(from[k] + seen);
#pragma GCC unroll 8
    for (int o = 0; o < Outputs; o++) {
      const native<T> d = part(g[o] + at);
#pragma GCC unroll 8
      for (int k = 0; k < Terms; k++) sum[o][k].r[r] = native_fma(d, x[k], sum[o][k].r[r]);
    }
  }
}

template <class T, int Outputs, int Terms>
CHAINRULE_OUT_OF_LINE void dots_fixed(T* sums, i64 row, const T* dy, const T* x, const i32* offset, const DotBlock& b) {
  constexpr i64 size = vec<T>::size;
  vec<T> sum[Outputs][Terms];
#pragma GCC unroll 8
  for (int o = 0; o < Outputs; o++)
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) sum[o][k] = vec<T>(0);
  for (i64 n = 0; n < b.images; n++, dy += b.dy_image, x += b.x_image) {
    const T *g[Outputs], *from[Terms];
#pragma GCC unroll 8
    for (int o = 0; o < Outputs; o++) g[o] = dy + o * b.dy_channel;
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) from[k] = x + offset[k];
    i64 p = 0;
#pragma GCC unroll 1
    for (; p + size <= b.positions; p += size) add_dots(sum, g, p, from, p, Whole());
    if (p < b.positions) add_dots(sum, g, p, from, p, b.positions - p);
  }
  put_dots(sums, row, b.add, sum);
}

template <class T, int Outputs, int Terms = kDotTerms>
CHAINRULE_INLINE void dots_by_terms(T* sums, i64 row, i64 terms, const T* dy, const T* x, const i32* offset,
                                    const DotBlock& b) {
  if constexpr (Terms > 1)
    if (terms < Terms) return dots_by_terms<T, Outputs, Terms - 1>(sums, row, terms, dy, x, offset, b);
  dots_fixed<T, Outputs, Terms>(sums, row, dy, x, offset, b);
}

template <class T, int Outputs = kDotOutputs>
CHAINRULE_INLINE void dots(T* sums, i64 row, i64 outputs, i64 terms, const T* dy, const T* x, const i32* offset,
                           const DotBlock& b) {
  if constexpr (Outputs > 1)
    if (outputs < Outputs) return dots<T, Outputs - 1>(sums, row, outputs, terms, dy, x, offset, b);
  dots_by_terms<T, Outputs>(sums, row, terms, dy, x, offset, b);
}

}  // namespace chainrule::CHAINRULE_ISA
