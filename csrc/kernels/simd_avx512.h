// AVX-512 (F, BW, DQ, VL): one 64-byte register per vec.
#pragma once
#include <immintrin.h>

#include "types.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int kRegisterBytes = 64;
constexpr bool kHasFma = true;
constexpr bool kHasFloor = true;
constexpr bool kHasScale = true;  // native_scale(x, n): x 2^n, rounded once

// GEMM register tile, in rows by vecs. Of 32 registers: 14 x 2 accumulators, 2 for B, A broadcast from memory.
constexpr int kTileRows = 14;
constexpr int kTileVecs = 2;
// Convolution's register tile (conv_planes.h), in channels by vecs of positions: 8 x 3 accumulators, 3 for positions, 1
// for a weight's broadcast, of 32.
constexpr int kConvRows = 8;
constexpr int kConvVecs = 3;
// Its weight gradient's tile (conv_dots.h), in output channels by taps: 6 x 4 accumulators, 4 for x, 1 for dy, of 32.
constexpr int kDotOutputs = 6;
constexpr int kDotTerms = 4;
// The tile of lanes of images (conv_batch.h), in channels.
constexpr int kBatchRows = 16;

CHAINRULE_INLINE __m512 native_fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
CHAINRULE_INLINE __m512d native_fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
// Masked with all lanes: GCC 12 warns inside the plain forms that their unused operand is uninitialised.
CHAINRULE_INLINE __m512 native_sqrt(__m512 a) { return _mm512_maskz_sqrt_ps(0xFFFF, a); }
CHAINRULE_INLINE __m512d native_sqrt(__m512d a) { return _mm512_maskz_sqrt_pd(0xFF, a); }
CHAINRULE_INLINE __m512 native_min(__m512 a, __m512 b) { return _mm512_maskz_min_ps(0xFFFF, a, b); }
CHAINRULE_INLINE __m512d native_min(__m512d a, __m512d b) { return _mm512_maskz_min_pd(0xFF, a, b); }
CHAINRULE_INLINE __m512 native_max(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xFFFF, a, b); }
CHAINRULE_INLINE __m512d native_max(__m512d a, __m512d b) { return _mm512_maskz_max_pd(0xFF, a, b); }
CHAINRULE_INLINE __m512 native_scale(__m512 a, __m512 b) { return _mm512_maskz_scalef_ps(0xFFFF, a, b); }
CHAINRULE_INLINE __m512d native_scale(__m512d a, __m512d b) { return _mm512_maskz_scalef_pd(0xFF, a, b); }
CHAINRULE_INLINE __m512 native_floor(__m512 a) { return _mm512_maskz_roundscale_ps(0xFFFF, a, _MM_FROUND_FLOOR); }
CHAINRULE_INLINE __m512d native_floor(__m512d a) { return _mm512_maskz_roundscale_pd(0xFF, a, _MM_FROUND_FLOOR); }

// The 64-bit products of the low 32 bits of each 64-bit lane. Zero-masked with all lanes on, which costs nothing: the
// plain intrinsic's "undefined" operand makes g++ 12 warn.
CHAINRULE_INLINE native_of<i64, 64>::type native_mul_u32(native_of<i64, 64>::type a, native_of<i64, 64>::type b) {
  return (native_of<i64, 64>::type)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
}

CHAINRULE_INLINE u32 first_lanes(i64 n, int lanes) {
  return n >= lanes ? (1u << lanes) - 1 : n <= 0 ? 0 : (1u << n) - 1;
}

CHAINRULE_INLINE __m512 native_load(const float* p, i64 n) {
  return _mm512_maskz_loadu_ps((__mmask16)first_lanes(n, 16), p);
}
CHAINRULE_INLINE __m512d native_load(const double* p, i64 n) {
  return _mm512_maskz_loadu_pd((__mmask8)first_lanes(n, 8), p);
}
CHAINRULE_INLINE void native_store(float* p, __m512 v, i64 n) {
  _mm512_mask_storeu_ps(p, (__mmask16)first_lanes(n, 16), v);
}
CHAINRULE_INLINE void native_store(double* p, __m512d v, i64 n) {
  _mm512_mask_storeu_pd(p, (__mmask8)first_lanes(n, 8), v);
}

// 16 bytes from each of p, p + step, ... side by side; step is in bytes.
CHAINRULE_INLINE __m512 native_pieces(const char* p, i64 step) {
  const auto pair = [&](const char* q) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float*)q)),
                                _mm_loadu_ps((const float*)(q + step)), 1);
  };
  return _mm512_insertf32x8(_mm512_castps256_ps512(pair(p)), pair(p + 2 * step), 1);
}

// One bit per lane of a mask.
CHAINRULE_INLINE u32 native_bits(native_of<i32, 64>::type m) { return _mm512_movepi32_mask((__m512i)m); }
CHAINRULE_INLINE u32 native_bits(native_of<i64, 64>::type m) { return _mm512_movepi64_mask((__m512i)m); }

// The same vector, in a register: a compiler may not load it again at each use.
template <class V>
CHAINRULE_INLINE V native_keep(V v) {
  asm("" : "+v"(v));
  return v;
}

}  // namespace chainrule::CHAINRULE_ISA
