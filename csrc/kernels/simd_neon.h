// NEON (64-bit Arm): four 16-byte registers per vec.
#pragma once
#include <arm_neon.h>

#include "types.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int kRegisterBytes = 16;
constexpr bool kHasFma = true;
constexpr bool kHasFloor = true;
constexpr bool kHasScale = false;  // native_scale(x, n): x 2^n, rounded once

// GEMM register tile, in rows by vecs. Of 32 registers: 6 x 1 x 4 accumulators, 4 for B, 2 for A.
constexpr int kTileRows = 6;
constexpr int kTileVecs = 1;
// Convolution's register tile (conv_planes.h), in channels by vecs of positions: 6 x 1 x 4 accumulators, 4 for
// positions, 1 for a weight, of 32.
constexpr int kConvRows = 6;
constexpr int kConvVecs = 1;
// Its weight gradient's tile (conv_dots.h), in output channels by taps: 3 x 2 x 4 accumulators, 2 for x, 1 for
// dy, of 32.
constexpr int kDotOutputs = 3;
constexpr int kDotTerms = 2;
// The tile of lanes of images (conv_batch.h), in channels.
constexpr int kBatchRows = 6;

CHAINRULE_INLINE float32x4_t native_fma(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
CHAINRULE_INLINE float64x2_t native_fma(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(c, a, b); }
CHAINRULE_INLINE float32x4_t native_sqrt(float32x4_t a) { return vsqrtq_f32(a); }
CHAINRULE_INLINE float64x2_t native_sqrt(float64x2_t a) { return vsqrtq_f64(a); }
CHAINRULE_INLINE float32x4_t native_floor(float32x4_t a) { return vrndmq_f32(a); }
CHAINRULE_INLINE float64x2_t native_floor(float64x2_t a) { return vrndmq_f64(a); }

// The 64-bit products of the low 32 bits of each 64-bit lane.
CHAINRULE_INLINE native_of<i64, 16>::type native_mul_u32(native_of<i64, 16>::type a, native_of<i64, 16>::type b) {
  return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
}

CHAINRULE_INLINE float32x4_t native_load(const float* p, i64 n) {
  float32x4_t v = vdupq_n_f32(0);
  for (int i = 0; i < 4 && i < n; i++) v[i] = p[i];
  return v;
}
CHAINRULE_INLINE float64x2_t native_load(const double* p, i64 n) {
  float64x2_t v = vdupq_n_f64(0);
  for (int i = 0; i < 2 && i < n; i++) v[i] = p[i];
  return v;
}
CHAINRULE_INLINE void native_store(float* p, float32x4_t v, i64 n) {
  for (int i = 0; i < 4 && i < n; i++) p[i] = v[i];
}
CHAINRULE_INLINE void native_store(double* p, float64x2_t v, i64 n) {
  for (int i = 0; i < 2 && i < n; i++) p[i] = v[i];
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
  asm("" : "+w"(v));
  return v;
}

}  // namespace chainrule::CHAINRULE_ISA
