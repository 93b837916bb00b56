// log, log1p. Accuracy: the table in vmath.h.
//
//   x = 2^e m, sqrt(1/2) <= m < sqrt(2), f = m - 1        log x = e ln 2 + log(1 + f)
//   float:  log(1 + f) = f - f^2/2 + f^3 p(f)
//   double: log(1 + f) = f - (h - s (h + R(s^2))), h = f^2/2, s = f / (2 + f), R from the series of 2 atanh(s)
//
// log1p takes f as 2^-e x + (2^-e - 1), which is rounded once, so the digits that 1 + x drops are not lost.
#pragma once
#include "vmath_exp.h"

namespace chainrule::CHAINRULE_ISA {

// log(1 + f) + e ln 2
CHAINRULE_INLINE vec<float> log_parts(vec<float> f, vec<float> e) {
  constexpr float p[] = {3.333331e-01f,  -2.4999987e-01f, 2.0002241e-01f,   -1.6669269e-01f, 1.4218353e-01f,
                         -1.238382e-01f, 1.1874923e-01f,  -1.17939554e-01f, 6.915768e-02f};
  const vec<float> f2 = f * f;
  const vec<float> low = fma(f * f2, polynomial<float>(f, p), e * Float<float>::ln2_low);
  return fma(e, vec<float>(Float<float>::ln2_high), f + fma(vec<float>(-0.5f), f2, low));
}
CHAINRULE_INLINE vec<double> log_parts(vec<double> f, vec<double> e) {
  constexpr double p[] = {0.6666666666666736,  0.3999999999940508, 0.2857142874472745, 0.22222198313575836,
                          0.18183578769937553, 0.1531365794776628, 0.14800098006356446};
  const vec<double> s = f / (f + 2.0);
  const vec<double> z = s * s;
  const vec<double> h = f * f * 0.5;
  const vec<double> low = fma(s, fma(z, polynomial<double>(z, p), h), e * Float<double>::ln2_low);
  return fma(e, vec<double>(Float<double>::ln2_high), f - (h - low));
}

// x = 2^e m for a normal x > 0.
template <class T>
struct Decomposed {
  vec<T> m;
  mask<T> e;
};
template <class T>
CHAINRULE_INLINE Decomposed<T> decompose(vec<T> x) {
  using I = typename int_of<T>::type;
  const mask<T> origin = bitcast<I>(vec<T>(T(0.70710678118654752440)));
  const mask<T> bits = bitcast<I>(x) - origin;
  const mask<T> fraction = bits & I((I(1) << Float<T>::mantissa) - 1);
  return {bitcast<T>(fraction + origin), bits >> Float<T>::mantissa};
}

// An integer of magnitude below 2^22 as a T.
template <class T>
CHAINRULE_INLINE vec<T> to_float(mask<T> n) {
  using I = typename int_of<T>::type;
  const vec<T> rounder(Float<T>::rounder);
  return bitcast<T>(n + bitcast<I>(rounder)) - rounder;
}

template <class T>
CHAINRULE_INLINE vec<T> log(vec<T> x) {
  const mask<T> denormal = x < Float<T>::min_normal;
  const Decomposed<T> d = decompose(select<T>(denormal, x * T(i64(1) << Float<T>::mantissa), x));
  const vec<T> e = to_float<T>(d.e) - select<T>(denormal, vec<T>(T(Float<T>::mantissa)), vec<T>(0));
  vec<T> y = log_parts(d.m - T(1), e);
  y = select<T>(x < Float<T>::inf, y, x);  // inf and NaN
  y = select<T>(x == T(0), vec<T>(-Float<T>::inf), y);
  return select<T>(x < T(0), vec<T>(Float<T>::nan), y);
}

template <class T>
CHAINRULE_INLINE vec<T> log1p(vec<T> x) {
  const Decomposed<T> d = decompose(x + T(1));
  const vec<T> scale = power_of_two<T>(mask<T>(0) - d.e);
  const mask<T> large = x > T(i64(4) << Float<T>::mantissa);  // 1 + x is x
  const vec<T> f = select<T>(large, d.m - T(1), fma(x, scale, scale - T(1)));
  vec<T> y = log_parts(f, to_float<T>(d.e));
  y = select<T>(x < Float<T>::inf, y, x);
  y = select<T>(x == T(0), x, y);
  y = select<T>(x == T(-1), vec<T>(-Float<T>::inf), y);
  return select<T>(x < T(-1), vec<T>(Float<T>::nan), y);
}

}  // namespace chainrule::CHAINRULE_ISA
