// exp, expm1, tanh, sigmoid. Accuracy: the table in vmath.h.
//
//   x = n ln 2 + r, |r| <= ln 2 / 2       e^r - 1 = r + r^2 q(r)       e^x = 2^n (1 + (e^r - 1))
//
// n is rounded by adding 1.5 * 2^mantissa: the sum's low bits are then n itself, so no conversion instruction is
// needed. n ln2_high is exact for every n that occurs, with or without FMA.
#pragma once
#include "simd.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
struct Float;
template <>
struct Float<float> {
  static constexpr int mantissa = 23;
  static constexpr i32 bias = 127;
  static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23
  static constexpr float min_normal = 0x1p-126f;
  static constexpr float inf = __builtin_inff();
  static constexpr float nan = __builtin_nanf("");
  static constexpr float log2e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f;
  static constexpr float ln2_low = -2.12194440e-4f;
};
template <>
struct Float<double> {
  static constexpr int mantissa = 52;
  static constexpr i64 bias = 1023;
  static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double min_normal = 0x1p-1022;
  static constexpr double inf = __builtin_inf();
  static constexpr double nan = __builtin_nan("");
  static constexpr double log2e = 1.4426950408889634;
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
};

// c[0] + c[1] x + c[2] x^2 + ...
template <class T, int N>
CHAINRULE_INLINE vec<T> polynomial(vec<T> x, const T (&c)[N]) {
  vec<T> y(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) y = fma(y, x, vec<T>(c[i]));
  return y;
}

// q of the formula above: minimax on |r| <= ln 2 / 2, relative error of e^r - 1 below 2^-28 and 2^-57.
template <class T>
struct ExpTerms;
template <>
struct ExpTerms<float> {
  static constexpr float c[] = {5.e-01f, 1.6666518e-01f, 4.1666206e-02f, 8.368952e-03f, 1.3950599e-03f};
};
template <>
struct ExpTerms<double> {
  static constexpr double c[] = {0.5000000000000013,     0.166666666666667,      0.0416666666665145,
                                 0.00833333333330697,    0.0013888888947288514,  0.0001984126991790077,
                                 2.4801489630406307e-05, 2.7557215836344147e-06, 2.7631401042140493e-07,
                                 2.5118007781308815e-08};
};

// 2^n for n in the range of normal numbers.
template <class T>
CHAINRULE_INLINE vec<T> power_of_two(mask<T> n) {
  using I = typename int_of<T>::type;
  return bitcast<T>((n + I(Float<T>::bias)) << Float<T>::mantissa);
}

// x rounded to a whole number n, |x| < 2^(mantissa - 2): as a number, and as the low bits of n + rounder.
template <class T>
struct WholeNumber {
  vec<T> value;
  mask<T> bits;
};
// The whole number nearest to x y.
template <class T>
CHAINRULE_INLINE WholeNumber<T> whole(vec<T> x, T y) {
  using I = typename int_of<T>::type;
  const vec<T> rounded = fma(x, vec<T>(y), vec<T>(Float<T>::rounder));
  return {rounded - Float<T>::rounder, bitcast<I>(rounded)};
}

// first 2^n, for a power of two `first`, where that is a normal number.
template <class T>
CHAINRULE_INLINE vec<T> power_of_two(WholeNumber<T> n, T first = T(1)) {
  using I = typename int_of<T>::type;
  return bitcast<T>((n.bits << Float<T>::mantissa) + bitcast<I>(vec<T>(first)));  // the shift leaves n of n + rounder
}

// x 2^n for any n in (-2^mantissa, 2 bias]: in two steps, because the result may overflow or be denormal. Rounded once.
template <class T>
CHAINRULE_INLINE vec<T> scale(vec<T> x, WholeNumber<T> n) {
  using I = typename int_of<T>::type;
  if constexpr (kHasScale) {
    for (int i = 0; i < kRegisters; i++) x.r[i] = native_scale(x.r[i], n.value.r[i]);
    return x;
  } else {
    const mask<T> bits = n.bits - bitcast<I>(vec<T>(Float<T>::rounder)), half = bits >> 1;
    return x * power_of_two<T>(half) * power_of_two<T>(bits - half);
  }
}

// e^x = 2^n (1 + tail).
template <class T>
struct ExpParts {
  vec<T> tail;
  WholeNumber<T> n;
};
template <class T>
CHAINRULE_INLINE vec<T> less_n_ln2(vec<T> x, WholeNumber<T> n) {
  return fma(n.value, vec<T>(-Float<T>::ln2_low), fma(n.value, vec<T>(-Float<T>::ln2_high), x));
}
template <class T>
CHAINRULE_INLINE ExpParts<T> exp_parts_reduced(vec<T> r, WholeNumber<T> n) {
  return {fma(r * r, polynomial<T>(r, ExpTerms<T>::c), r), n};
}
template <class T>
CHAINRULE_INLINE ExpParts<T> exp_parts(vec<T> x) {
  const WholeNumber<T> n = whole(x, Float<T>::log2e);
  return exp_parts_reduced(less_n_ln2(x, n), n);
}
// Of x + low, for |low| far below |x|.
template <class T>
CHAINRULE_INLINE ExpParts<T> exp_parts(vec<T> x, vec<T> low) {
  const WholeNumber<T> n = whole(x + low, Float<T>::log2e);
  return exp_parts_reduced(less_n_ln2(x, n) + low, n);
}

template <class T>
struct ExpRange;
template <>
struct ExpRange<float> {
  static constexpr float least = -104, most = 89;  // 0 and inf from here on
  static constexpr float tanh_is_one = 10, expm1_is_minus_one = -20;
};
template <>
struct ExpRange<double> {
  static constexpr double least = -746, most = 710;
  static constexpr double tanh_is_one = 20, expm1_is_minus_one = -40;
};

template <class T>
CHAINRULE_INLINE vec<T> exp(vec<T> x) {
  x = max(vec<T>(ExpRange<T>::least), min(vec<T>(ExpRange<T>::most), x));  // in this order NaN goes through
  const ExpParts<T> e = exp_parts(x);
  return scale(e.tail + T(1), e.n);
}

template <class T>
CHAINRULE_INLINE vec<T> expm1(vec<T> x) {
  const vec<T> clamped = max(vec<T>(ExpRange<T>::expm1_is_minus_one), min(vec<T>(ExpRange<T>::most), x));
  const ExpParts<T> e = exp_parts(clamped);
  // 2^n / 2: 2^n itself may overflow where the result doesn't
  const vec<T> half = power_of_two(e.n, T(0.5));
  const vec<T> y = fma(half, e.tail, half - T(0.5)) * T(2);
  return select<T>(x == T(0), x, y);
}

// With E = e^2|x|: (E - 1) / (E + 1) while that is below 1/2, then 1 - 2 / (E + 1), whose rounding errors count for
// less.
template <class T>
CHAINRULE_INLINE vec<T> tanh(vec<T> x) {
  const vec<T> a = min(vec<T>(ExpRange<T>::tanh_is_one), abs(x));
  const ExpParts<T> e = exp_parts(a + a);
  const vec<T> s = power_of_two(e.n);
  const mask<T> large = a > T(0.55);
  const vec<T> q = select<T>(large, vec<T>(2), fma(s, e.tail, s - T(1))) / fma(s, e.tail, s + T(1));
  return with_sign_of(select<T>(large, T(1) - q, q), x);
}

// 1 / (1 + e^-x), from e^-|x| so that the negative tail keeps its relative accuracy and nothing overflows.
template <class T>
CHAINRULE_INLINE vec<T> sigmoid(vec<T> x) {
  const vec<T> e = exp(-abs(x));
  return select<T>(x < T(0), e, vec<T>(1)) / (e + T(1));
}

}  // namespace chainrule::CHAINRULE_ISA
