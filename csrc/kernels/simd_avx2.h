// AVX2 with FMA: two 32-byte registers per vec.
#pragma once
#include <immintrin.h>

#include "types.h"

namespace chainrule::CHAINRULE_ISA {

constexpr int kRegisterBytes = 32;
constexpr bool kHasFma = true;
constexpr bool kHasFloor = true;
constexpr bool kHasScale = false;  // native_scale(x, n): x 2^n, rounded once

// GEMM register tile, in rows by vecs. Of 16 registers: 6 x 1 x 2 accumulators, 2 for B, 1 for A's broadcast.
constexpr int kTileRows = 6;
constexpr int kTileVecs = 1;
// Convolution's register tile (conv_planes.h), in channels by vecs of positions: 6 x 1 x 2 accumulators, 2 for
// positions, 1 for a weight's broadcast, of 16.
constexpr int kConvRows = 6;
constexpr int kConvVecs = 1;
// Its weight gradient's tile (conv_dots.h), in output channels by taps: 3 x 2 x 2 accumulators, 2 for x, 1 for
// dy, of 16.
constexpr int kDotOutputs = 3;
constexpr int kDotTerms = 2;
// The tile of lanes of images (conv_batch.h), in channels.
constexpr int kBatchRows = 6;

CHAINRULE_INLINE __m256 native_fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
CHAINRULE_INLINE __m256d native_fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
CHAINRULE_INLINE __m256 native_sqrt(__m256 a) { return _mm256_sqrt_ps(a); }
CHAINRULE_INLINE __m256d native_sqrt(__m256d a) { return _mm256_sqrt_pd(a); }

CHAINRULE_INLINE __m256 native_min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
CHAINRULE_INLINE __m256d native_min(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
CHAINRULE_INLINE __m256 native_max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
CHAINRULE_INLINE __m256d native_max(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
CHAINRULE_INLINE __m256 native_floor(__m256 a) { return _mm256_floor_ps(a); }
CHAINRULE_INLINE __m256d native_floor(__m256d a) { return _mm256_floor_pd(a); }

// The 64-bit products of the low 32 bits of each 64-bit lane.
CHAINRULE_INLINE native_of<i64, 32>::type native_mul_u32(native_of<i64, 32>::type a, native_of<i64, 32>::type b) {
  return (native_of<i64, 32>::type)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

// Lane i is kept where i < n; n saturates far below the lanes' range.
CHAINRULE_INLINE __m256i first_lanes32(i64 n) {
  const int count = n < 0 ? 0 : n > 8 ? 8 : int(n);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
CHAINRULE_INLINE __m256i first_lanes64(i64 n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

CHAINRULE_INLINE __m256 native_load(const float* p, i64 n) { return _mm256_maskload_ps(p, first_lanes32(n)); }
CHAINRULE_INLINE __m256d native_load(const double* p, i64 n) { return _mm256_maskload_pd(p, first_lanes64(n)); }
CHAINRULE_INLINE void native_store(float* p, __m256 v, i64 n) { _mm256_maskstore_ps(p, first_lanes32(n), v); }
CHAINRULE_INLINE void native_store(double* p, __m256d v, i64 n) { _mm256_maskstore_pd(p, first_lanes64(n), v); }

// 16 bytes from each of p and p + step side by side; step is in bytes.
CHAINRULE_INLINE __m256 native_pieces(const char* p, i64 step) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float*)p)),
                              _mm_loadu_ps((const float*)(p + step)), 1);
}

// One bit per lane of a mask.
CHAINRULE_INLINE u32 native_bits(native_of<i32, 32>::type m) { return u32(_mm256_movemask_ps((__m256)m)); }
CHAINRULE_INLINE u32 native_bits(native_of<i64, 32>::type m) { return u32(_mm256_movemask_pd((__m256d)m)); }

// The same vector, in a register: a compiler may not load it again at each use.
template <class V>
CHAINRULE_INLINE V native_keep(V v) {
  asm("" : "+x"(v));
  return v;
}

}  // namespace chainrule::CHAINRULE_ISA
