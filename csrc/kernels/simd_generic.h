// Any machine: 16-byte vectors of the compiler's own, for whatever baseline it targets. No FMA: a product and a sum
// round twice here, so these bits differ from the FMA ISAs' (they agree with themselves for any thread count).
#pragma once
#include "types.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int kRegisterBytes = 16;
constexpr bool kHasFma = false;
constexpr bool kHasFloor = false;
constexpr bool kHasScale = false;  // native_scale(x, n): x 2^n, rounded once

// GEMM register tile, in rows by vecs, for 16 registers of 16 bytes: 2 x 1 x 4 accumulators, 4 for B, 1 for A.
constexpr int kTileRows = 2;
constexpr int kTileVecs = 1;
// Convolution's register tile (conv_planes.h), in channels by vecs of positions: 2 x 1 x 4 accumulators, 4 for
// positions, 1 for a weight, of 16.
constexpr int kConvRows = 2;
constexpr int kConvVecs = 1;
// Its weight gradient's tile (conv_dots.h), in output channels by taps: 2 x 1 x 4 accumulators, 1 for x, 1 for
// dy, of 16.
constexpr int kDotOutputs = 2;
constexpr int kDotTerms = 1;
// The tile of lanes of images (conv_batch.h), in channels.
constexpr int kBatchRows = 2;

template <class V>
CHAINRULE_INLINE V native_fma(V a, V b, V c) {
  return a * b + c;
}

CHAINRULE_INLINE native_of<float, 16>::type native_sqrt(native_of<float, 16>::type a) {
  for (int i = 0; i < 4; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
CHAINRULE_INLINE native_of<double, 16>::type native_sqrt(native_of<double, 16>::type a) {
  for (int i = 0; i < 2; i++) a[i] = __builtin_sqrt(a[i]);
  return a;
}

// The 64-bit products of the low 32 bits of each 64-bit lane.
CHAINRULE_INLINE native_of<i64, 16>::type native_mul_u32(native_of<i64, 16>::type a, native_of<i64, 16>::type b) {
  return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
}

template <class T>
CHAINRULE_INLINE typename native_of<T, 16>::type native_load(const T* p, i64 n) {
  typename native_of<T, 16>::type v{};
  for (int i = 0; i < int(16 / sizeof(T)) && i < n; i++) v[i] = p[i];
  return v;
}
template <class T>
CHAINRULE_INLINE void native_store(T* p, typename native_of<T, 16>::type v, i64 n) {
  for (int i = 0; i < int(16 / sizeof(T)) && i < n; i++) p[i] = v[i];
}

// 16 bytes at p: a register holds no more.
CHAINRULE_INLINE native_of<float, 16>::type native_pieces(const char* p, i64) {
  native_of<float, 16>::type x;
  __builtin_memcpy(&x, p, 16);
  return x;
}

// One bit per lane of a mask.
CHAINRULE_INLINE u32 native_bits(native_of<i32, 16>::type m) {
  return u32((m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8));
}
CHAINRULE_INLINE u32 native_bits(native_of<i64, 16>::type m) { return u32((m[0] & 1) | (m[1] & 2)); }

// The same vector, in a register: a compiler may not load it again at each use.
template <class V>
CHAINRULE_INLINE V native_keep(V v) {
  return v;
}

}  // namespace chainrule::CHAINRULE_ISA
