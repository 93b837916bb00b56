// Random numbers by counter (philox.h): element i depends on key = {seed, offset} and i alone.
//
// uniform: y = low + u (high - low), u in [0, 1)
// bernoulli: y = 1 with probability p, else 0             threshold = ceil(p 2^24): 24 random bits are under it
// dropout: y = x / (1 - p) where mask, else 0             mask = false with probability p; the same for both dtypes
//   backward: dx = dy / (1 - p) where mask, else 0        (saved: mask)
#include "kernels.h"
#include "philox.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

CHAINRULE_INLINE mask<float> under(vec<i64> bits, i32 threshold) {
  return ((bitcast<i32>(bits) >> 8) & i32(0xFFFFFF)) < threshold;
}

}  // namespace

template <class T>
void uniform(Team& team, T* y, const u64* key, i64 n, T low, T high) {
  parallel_random<T>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    const vec<T> v = fma(unit(bits, T()), vec<T>(high - low), vec<T>(low));
    store(y + i, select<T>(v < high, v, vec<T>(low)), lanes);  // the sum may round up to high
  });
}

// The loops over `lanes` below are plain: the compiler vectorises them, and T may be wider than the 32-bit words.

template <class T>
void bernoulli(Team& team, T* y, const u64* key, i64 n, i32 threshold) {
  parallel_random<float>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    i32 one[16];
    store(one, under(bits, threshold) & i32(1));
    for (i64 j = 0; j < lanes; j++) y[i + j] = T(one[j]);
  });
}

template <class T>
void dropout(Team& team, T* y, bool* mask, const T* x, const u64* key, i64 n, i32 threshold, T scale) {
  parallel_random<float>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    i32 drop[16];
    store(drop, under(bits, threshold));
    for (i64 j = 0; j < lanes; j++) mask[i + j] = drop[j] == 0;
    for (i64 j = 0; j < lanes; j++) y[i + j] = drop[j] == 0 ? x[i + j] * scale : T(0);
  });
}

template <class T>
void dropout_backward(Team& team, T* dx, const T* dy, const bool* mask, i64 n, T scale) {
  parallel_for(team, n, kFlatGrain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) dx[i] = mask[i] ? dy[i] * scale : T(0);
  });
}

INSTANTIATE(uniform)
INSTANTIATE(bernoulli)
INSTANTIATE(dropout)
INSTANTIATE(dropout_backward)

}  // namespace chainrule::CHAINRULE_ISA
