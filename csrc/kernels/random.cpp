// Random numbers by counter (philox.h): element i depends on key = {seed, offset} and i alone.
//
// uniform: y = low + u (high - low), u in [0, 1)
// normal: y = mean + std r cos(2 pi u2) in each group's first vec, mean + std r sin(2 pi u2) in its second,
//   r = sqrt(-2 log(1 - u1)), u1 from the first vec's bits, u2 from the second's (Box and Muller, 1958)
// bernoulli: y = 1 with probability p, else 0             threshold = ceil(p 2^24): 24 random bits are under it
// dropout: y = x / (1 - p) where mask, else 0             mask = false with probability p; the same for both dtypes
//   backward: dx = dy / (1 - p) where mask, else 0        (saved: mask)
#include "kernels.h"
#include "philox.h"
#include "vmath_log.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

// Minimax on |a| <= pi/4 (Cephes): sin a = a + a^3 sin(a^2), cos a = 1 - a^2/2 + a^4 cos(a^2).
template <class T>
struct Turn;
template <>
struct Turn<float> {
  static constexpr float sin[] = {-1.6666654611e-1f, 8.3321608736e-3f, -1.9515295891e-4f};
  static constexpr float cos[] = {4.166664568298827e-2f, -1.388731625493765e-3f, 2.443315711809948e-5f};
};
template <>
struct Turn<double> {
  static constexpr double sin[] = {-1.66666666666666307295e-1, 8.33333333332211858878e-3,  -1.98412698295895385996e-4,
                                   2.75573136213857245213e-6,  -2.50507477628578072866e-8, 1.58962301576546568060e-10};
  static constexpr double cos[] = {4.16666666666665929218e-2,  -1.38888888888730564116e-3, 2.48015872888517045348e-5,
                                   -2.75573141792967388112e-7, 2.08757008419747316778e-9,  -1.13585365213876817300e-11};
};

template <class T>
struct SinCos {
  vec<T> sin, cos;
};

// Of 2 pi u, 0 <= u < 1: the quarter turns are taken off exactly.
template <class T>
CHAINRULE_INLINE SinCos<T> sin_cos_turns(vec<T> u) {
  const vec<T> rounder(Float<T>::rounder);
  const vec<T> quarters = (u * T(4) + rounder) - rounder;
  const vec<T> a = fma(u, vec<T>(4), -quarters) * T(1.57079632679489661923);
  const vec<T> z = a * a;
  const vec<T> s = fma(a * z, polynomial<T>(z, Turn<T>::sin), a);
  const vec<T> c = fma(z * z, polynomial<T>(z, Turn<T>::cos), fma(z, vec<T>(T(-0.5)), vec<T>(1)));
  const mask<T> one = quarters == T(1), two = quarters == T(2), three = quarters == T(3);
  const vec<T> sin = select<T>(one | three, c, s), cos = select<T>(one | three, s, c);
  return {select<T>(two | three, -sin, sin), select<T>(one | two, -cos, cos)};
}

CHAINRULE_INLINE mask<float> under(vec<i64> bits, i32 threshold) {
  return ((bitcast<i32>(bits) >> 8) & i32(0xFFFFFF)) < threshold;
}

}  // namespace

template <class T>
void uniform(Team& team, T* y, const RandomKey& key, i64 n, T low, T high) {
  parallel_random<T>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    const vec<T> v = fma(unit(bits, T()), vec<T>(high - low), vec<T>(low));
    store(y + i, select<T>(v < high, v, vec<T>(low)), lanes);  // the sum may round up to high
  });
}

template <class T>
void normal(Team& team, T* y, const RandomKey& key, i64 n, T mean, T std) {
  constexpr i64 size = vec<T>::size;
  parallel_groups<T>(team, key, n, [&](i64 i, i64 count, Random bits) {
    const vec<T> r = sqrt(T(-2) * log(T(1) - unit(bits.first, T())));
    const SinCos<T> turn = sin_cos_turns(unit(bits.second, T()));
    store(y + i, fma(r * turn.cos, vec<T>(std), vec<T>(mean)), at_most(size, count));
    if (count > size) store(y + i + size, fma(r * turn.sin, vec<T>(std), vec<T>(mean)), count - size);
  });
}

// The loops over `lanes` below are plain: the compiler vectorises them, and T may be wider than the 32-bit words.

template <class T>
void bernoulli(Team& team, T* y, const RandomKey& key, i64 n, i32 threshold) {
  parallel_random<float>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    i32 one[16];
    store(one, under(bits, threshold) & i32(1));
    for (i64 j = 0; j < lanes; j++) y[i + j] = T(one[j]);
  });
}

template <class T>
void dropout(Team& team, T* y, bool* mask, const T* x, const RandomKey& key, i64 n, i32 threshold, T scale) {
  parallel_random<float>(team, key, n, [&](i64 i, i64 lanes, vec<i64> bits) {
    i32 drop[16];
    store(drop, under(bits, threshold));
    for (i64 j = 0; j < lanes; j++) mask[i + j] = drop[j] == 0;
    for (i64 j = 0; j < lanes; j++) y[i + j] = drop[j] == 0 ? x[i + j] * scale : T(0);
  });
}

template <class T>
void dropout_backward(Team& team, T* dx, const T* dy, const bool* mask, i64 n, T scale) {
  const uint8_t* const kept = reinterpret_cast<const uint8_t*>(mask);  // loops over bools aren't vectorised
  parallel_for(team, n, kFlatGrain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const T scaled = dy[i] * scale;
      dx[i] = kept[i] ? scaled : T(0);
    }
  });
}

INSTANTIATE(uniform)
INSTANTIATE(normal)
INSTANTIATE(bernoulli)
INSTANTIATE(dropout)
INSTANTIATE(dropout_backward)

}  // namespace chainrule::CHAINRULE_ISA
