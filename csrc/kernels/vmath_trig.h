// sin, cos. Accuracy: the table in vmath.h.
//
//   double: x = q pi/2 + r, |r| <= pi/4: sin x is sin r, cos r, -sin r, -cos r for q = 0, 1, 2, 3 (mod 4), cos x that
//           of q + 1; sin r = r + r^3 S(r^2), cos r = 1 - r^2 / 2 + r^4 C(r^2), Taylor's as long as the dtype needs
//   float:  x = n pi + r, |r| <= pi/2: sin x = (-1)^n sin r; in double, so that a float is rounded once
//
// Up to 2^20 pi is subtracted in parts, of which the first (in double the first two) times n is exact without FMA too;
// beyond, x times as many bits of 2/pi as can matter is computed in integers (Payne and Hanek), so every finite x has
// its sine.
#pragma once
#include "vmath_exp.h"

namespace chainrule::CHAINRULE_ISA {

struct TrigTerms {
  static constexpr double sine[] = {-0.16666666666666666,   0.008333333333333333,   -0.0001984126984126984,
                                    2.7557319223985893e-06, -2.505210838544172e-08, 1.6059043836821613e-10,
                                    -7.647163731819816e-13, 2.8114572543455206e-15};
  static constexpr double cosine[] = {0.041666666666666664,   -0.001388888888888889,  2.48015873015873e-05,
                                      -2.755731922398589e-07, 2.08767569878681e-09,   -1.1470745597729725e-11,
                                      4.779477332387385e-14,  -1.5619206968586225e-16};
};

constexpr double kSmall = 0x1p20;

// x - q pi/2, and q modulo 4.
struct Turned {
  vec<double> r;
  vec<i64> q;
};

// The same of one |x| >= 2^20 (or NaN, infinity: then r is NaN). x = m 2^e with a whole m of 53 bits; only the 192 bits
// of 2/pi from the one of weight 2^(2 - e) on matter: those before give multiples of 4, those after less than 2^-135.
CHAINRULE_INLINE double turn_large(double x, i64* q) {
  // A word of zeros, then 2/pi.
  constexpr u64 kTwoOverPi[] = {0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
                                0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
                                0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
                                0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
                                0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
                                0xf0cfbc209af4361d};
  i64 bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const i64 exponent = bits >> 52 & 0x7ff;
  *q = 0;
  if (exponent == 0x7ff) return x - x;
  const u64 m = (u64(bits) & ((u64(1) << 52) - 1)) | u64(1) << 52;
  const i64 skip = exponent - 1075 - 2 + 64, word = skip >> 6, shift = skip & 63;
  u64 p[3];
  for (int i = 0; i < 3; i++)
    p[i] = kTwoOverPi[word + i] << shift | (shift ? kTwoOverPi[word + i + 1] >> (64 - shift) : 0);
  using Wide = unsigned __int128;
  const Wide low = Wide(m) * p[2], middle = Wide(m) * p[1] + u64(low >> 64);
  const u64 high = m * p[0] + u64(middle >> 64), next = u64(middle);
  // (high, next) is q and its fraction: 2 bits before the point. As a signed number the fraction is the one nearest to
  // 0.
  const i64 fraction = i64(high << 2 | next >> 62);
  *q = i64(high >> 62) + (fraction < 0);
  const double turn = double(fraction) * 0x1p-64 + double(next << 2) * 0x1p-128;
  if (bits < 0) *q = -*q;
  return (bits < 0 ? -turn : turn) * 1.5707963267948966;
}

CHAINRULE_INLINE Turned turn(vec<double> x) {
  constexpr double kShift = 0x1.8p52;  // adding it rounds to whole numbers, whose low bits are then the significand's
  const vec<double> whole = x * 0.6366197723675814 + kShift, n = whole - kShift;
  const vec<double> first = fma(-n, vec<double>(0x1.921fb54400000p+0), x),
                    second = fma(-n, vec<double>(0x1.0b4611a600000p-34), first);
  const vec<double> lost = fma(-n, vec<double>(0x1.0b4611a600000p-34), first - second);
  Turned t = {second + fma(-n, vec<double>(0x1.3198a2e037073p-69), lost), bitcast<i64>(whole)};
  const mask<double> small = abs(x) < kSmall;
  if (all(small)) return t;
  double from[vec<double>::size], r[vec<double>::size];
  i64 q[vec<double>::size];
  store(from, x), store(r, t.r), store(q, t.q);
  for (int i = 0; i < vec<double>::size; i++)
    if (!(bits(small) >> i & 1)) r[i] = turn_large(from[i], &q[i]);
  return {load(r), load(q)};
}

// The sine of x + quarters pi/2.
CHAINRULE_INLINE vec<double> sine(vec<double> x, i64 quarters) {
  const Turned t = turn(x);
  const vec<i64> q = t.q + vec<i64>(quarters);
  const vec<double> z = t.r * t.r;
  const vec<double> s = fma(t.r * z, polynomial<double>(z, TrigTerms::sine), t.r);
  const vec<double> c = fma(z * z, polynomial<double>(z, TrigTerms::cosine), z * -0.5) + 1.0;
  const vec<double> y = select<double>((q & i64(1)) == i64(0), s, c);
  return bitcast<double>(bitcast<i64>(y) ^ ((q & i64(2)) << 62));
}

// Of what was a float, up to kSmall: x + quarters pi/2 = n pi + r. Two parts of pi do: no such float is nearer to a
// multiple of pi/2 than 2^-31.
template <int Quarters>
CHAINRULE_INLINE vec<double> sine_of_float(vec<double> x) {
  constexpr double kShift = 0x1.8p52, kHalf = 0.5 * Quarters;
  constexpr double p[] = {-0.1666666662614949, 0.008333331108596192, -0.00019840868208973516, 2.7525384376905084e-06,
                          -2.3888908438581507e-08};
  vec<double> n = x * 0.3183098861837907;
  if constexpr (Quarters) n = n + kHalf;
  const vec<double> whole = n + kShift;
  n = whole - kShift;
  if constexpr (Quarters) n = n - kHalf;
  const vec<double> r = fma(-n, vec<double>(0x1.0b4611a626331p-33), fma(-n, vec<double>(0x1.921fb54400000p+1), x));
  const vec<double> z = r * r;
  return bitcast<double>(bitcast<i64>(fma(r * z, polynomial<double>(z, p), r)) ^ (bitcast<i64>(whole) << 63));
}

inline CHAINRULE_OUT_OF_LINE void sine_of_large(float* y, const float* x, i64 quarters) {
  const Widened w = widen(load(x));
  store(y, narrow({sine(w.low, quarters), sine(w.high, quarters)}));
}

template <int Quarters>
CHAINRULE_INLINE vec<float> sine_of_turned(vec<float> x) {
  const Widened w = widen(x);
  const vec<float> y = narrow({sine_of_float<Quarters>(w.low), sine_of_float<Quarters>(w.high)});
  const mask<float> small = abs(x) < float(kSmall);
  if (all(small)) return y;
  float large[vec<float>::size];  // of every lane, so that an element's bits don't depend on its neighbours
  store(large, x);
  sine_of_large(large, large, Quarters);
  return select<float>(small, y, load(large));
}
template <int Quarters>
CHAINRULE_INLINE vec<double> sine_of_turned(vec<double> x) {
  return sine(x, Quarters);
}

template <class T>
CHAINRULE_INLINE vec<T> sin(vec<T> x) {
  return select<T>(abs(x) < T(0x1p-27), x, sine_of_turned<0>(x));  // keeps the sign of zero
}

template <class T>
CHAINRULE_INLINE vec<T> cos(vec<T> x) {
  return sine_of_turned<1>(x);
}

}  // namespace chainrule::CHAINRULE_ISA
