// erf, erfc, gelu and its derivative. Accuracy: the table in vmath.h.
//
//   |x| small:  erf x = x + x p(x^2)
//   x >= 0:     erfc x = e^-x^2 g(q) / (x + k), q = (x - k) / (x + k)      g is smooth on the whole half line
//   Phi(-x) = erfc(x / sqrt 2) / 2
//
// x^2 is taken as high^2 (exact: half of the digits) + (x - high)(x + high), because an error of x^2 is a relative
// error of e^-x^2. That is what keeps the relative accuracy in the negative tail of gelu.
#pragma once
#include "vmath_exp.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
struct ErfTerms;
template <>
struct ErfTerms<float> {
  static constexpr float small[] = {1.2837917e-01f, -3.7612626e-01f, 1.12835854e-01f, -2.6853813e-02f,
                                    5.1883277e-03f, -8.0101955e-04f, 7.853868e-05f};
  static constexpr float k = 3;
  static constexpr float g[] = {1.0740069e+00f,  -8.833945e-01f,  5.902283e-01f,  -3.1046605e-01f, 1.19528964e-01f,
                                -2.6839586e-02f, -1.2258249e-03f, 3.0800598e-03f, -4.8436451e-04f, -3.2594494e-04f};
  static constexpr float erfc_is_zero = 10.2f, cdf_is_zero = 15;
  static constexpr i32 high = ~0xfff;  // 12 of 24 digits
};
template <>
struct ErfTerms<double> {
  static constexpr double small[] = {0.12837916709551256,     -0.3761263890318352,     0.11283791670944185,
                                     -0.026866170643111524,   0.005223977606118885,    -0.0008548325929331682,
                                     0.00012055293577351906,  -1.4924712309643737e-05, 1.6447131654160477e-06,
                                     -1.6206314314998661e-07, 1.3710982496104633e-08,  -7.779471875636672e-10};
  static constexpr double k = 4;
  static constexpr double g[] = {
      1.095995661000491,       -0.9765487290808824,     0.7732087022652407,     -0.540853831313188,
      0.3308515878777911,      -0.17401093724147768,    0.07638151491422397,    -0.026370053316607262,
      0.006112055601939093,    -0.0002809590711407761,  -0.0004550523573614168, 0.00017681391792842078,
      -3.636327348703399e-06,  -1.8864654126081362e-05, 4.696756570947401e-06,  1.4324905961287257e-06,
      -8.485384822687603e-07,  -8.687311047786239e-08,  1.2435393704527421e-07, 9.615142764129847e-09,
      -1.3840425346298113e-08, -2.766558243208116e-09};
  static constexpr double erfc_is_zero = 27.3, cdf_is_zero = 38.7;
  static constexpr i64 high = ~i64(0x7ffffff);  // 26 of 53 digits
};

// e^(-s a^2), s = 1 or 1/2.
template <class T>
CHAINRULE_INLINE ExpParts<T> exp_of_square(vec<T> a, T s) {
  using I = typename int_of<T>::type;
  const vec<T> high = bitcast<T>(bitcast<I>(a) & ErfTerms<T>::high);
  return exp_parts(high * high * -s, (a - high) * (a + high) * -s);
}

// e^(a^2) erfc(a), a >= 0
template <class T>
CHAINRULE_INLINE vec<T> scaled_erfc(vec<T> a) {
  const vec<T> r = T(1) / (a + ErfTerms<T>::k);
  return r * polynomial<T>((a - ErfTerms<T>::k) * r, ErfTerms<T>::g);
}

template <class T>
CHAINRULE_INLINE vec<T> erfc(vec<T> x) {
  const vec<T> a = min(vec<T>(ErfTerms<T>::erfc_is_zero), abs(x));
  const ExpParts<T> e = exp_of_square(a, T(1));
  const vec<T> y = scale((e.tail + T(1)) * scaled_erfc(a), e.n);
  return select<T>(x < T(0), T(2) - y, y);
}

// Where erf isn't small it is 1 - e^(a p(a) - a), in float; 1 - erfc, in double.
CHAINRULE_INLINE vec<float> erf_of_large(vec<float> a) {
  constexpr float p[] = {-1.2863708e-01f, -6.3519806e-01f, -1.0615905e-01f, 2.3694562e-02f,
                         -3.61034e-03f,   3.148576e-04f,   -1.0433063e-05f};
  a = min(vec<float>(4), a);  // 1 from here on
  const ExpParts<float> e = exp_parts(fma(a, polynomial<float>(a, p), -a));
  return 1.0f - (e.tail + 1.0f) * power_of_two(e.n);
}
CHAINRULE_INLINE vec<double> erf_of_large(vec<double> a) { return 1.0 - erfc(a); }

template <class T>
CHAINRULE_INLINE vec<T> erf(vec<T> x) {
  const vec<T> a = abs(x);
  const vec<T> small = fma(a, polynomial<T>(a * a, ErfTerms<T>::small), a);
  return with_sign_of(select<T>(a < T(1), small, erf_of_large(a)), x);
}

// Phi(-|x|) and phi(x), the normal distribution function and its density, as tail 2^n and density 2^n.
template <class T>
struct Normal {
  vec<T> a;  // |x|, held where both become zero
  vec<T> tail, density;
  WholeNumber<T> n;
};
template <class T>
CHAINRULE_INLINE Normal<T> normal(vec<T> x) {
  const vec<T> a = min(vec<T>(ErfTerms<T>::cdf_is_zero), abs(x));
  const ExpParts<T> e = exp_of_square(a, T(0.5));
  const vec<T> m = e.tail + T(1);
  return {a, m * (scaled_erfc(a * T(0.70710678118654752440)) * T(0.5)), m * T(0.39894228040143267794), e.n};
}
// In float in fewer operations, for gelu and its gradient. The exponent of 2 is -c (a^2 + low), a^2 as the sum of two
// floats by one FMA; c is log2(e) / 2 rounded, what it lacks is part of p / q = Phi(-a) 2^(c a^2) and of the density.
CHAINRULE_INLINE Normal<float> normal(vec<float> x) {
  if constexpr (!kHasFma) return normal<float>(x);
  constexpr float c = 0.7213475f;
  constexpr float exp2[] = {1, 0.693147f, 0.24022241f, 0.055507343f, 0.009671555f, 0.0013264673f};
  constexpr float p[] = {0.5f, 0.44105265f, 0.18513732f, 0.041242318f, 0.004199404f};
  constexpr float q[] = {1, 1.6799903f, 1.210708f, 0.47447854f, 0.10338298f, 0.010526339f};
  constexpr float density[] = {0.3989423f, -2.6628915e-09f};
  const vec<float> a = min(vec<float>(ErfTerms<float>::cdf_is_zero), abs(x));
  const vec<float> square = a * a, low = fma(a, a, -square);
  const WholeNumber<float> n = whole(square, -c);
  const vec<float> r = fma(low, vec<float>(-c), fma(square, vec<float>(-c), -n.value));
  const vec<float> m = polynomial<float>(r, exp2);
  const vec<float> ratio = polynomial<float>(a, p) / polynomial<float>(a, q);
  return {a, m * ratio, m * polynomial<float>(square, density), n};
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|). The maximum is taken so that -0 stays and -infinity gives NaN, as times 0 it
// does.
template <class T>
CHAINRULE_INLINE vec<T> gelu(vec<T> x) {
  const Normal<T> half = normal(x);
  return x - min(x, vec<T>(0)) - scale(half.a * half.tail, half.n);
}

// Its derivative, Phi(x) + x phi(x).
template <class T>
CHAINRULE_INLINE vec<T> gelu_slope(vec<T> x) {
  const Normal<T> half = normal(x);
  const vec<T> y = scale(fma(-half.a, half.density, half.tail), half.n);  // of -|x|
  return select<T>(x < T(0), y, T(1) - y);
}

}  // namespace chainrule::CHAINRULE_ISA
