// pow. Accuracy: the table in vmath.h. |x|^y = e^(y log |x|), signs and special values as C's pow.
//
// An error of y log |x| is a relative error of the result, and y log |x| reaches 745, so double takes the logarithm to
// 68 digits, as a sum of two doubles; float goes through double.
#pragma once
#include "vmath_log.h"

namespace chainrule::CHAINRULE_ISA {

// high + low, |low| at most half a unit of high's last place.
struct Sum {
  vec<double> high, low;
};
CHAINRULE_INLINE Sum sum_of(vec<double> large, vec<double> small) {
  const vec<double> high = large + small;
  return {high, small - (high - large)};
}

// a b, exactly. Without FMA by Dekker's halves (the guard keeps the splitting from overflowing).
CHAINRULE_INLINE Sum product_of(vec<double> a, vec<double> b) {
  const vec<double> high = a * b;
  if constexpr (kHasFma) return {high, fma(a, b, -high)};
  const mask<double> half(~i64(0x7ffffff));
  const vec<double> a1 = bitcast<double>(bitcast<i64>(a) & half), b1 = bitcast<double>(bitcast<i64>(b) & half);
  const vec<double> a2 = a - a1, b2 = b - b1;
  return {high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2};
}

// log x for a normal or denormal x > 0:
//   s = f / (2 + f)       log(1 + f) = 2 s + s^3 (2/3 + s^2 p(s^2))       sums of two doubles where the digits matter
CHAINRULE_INLINE Sum precise_log(vec<double> x) {
  constexpr double p[] = {0.4,
                          0.2857142857142857,
                          0.2222222222222222,
                          0.18181818181818182,
                          0.15384615384615385,
                          0.13333333333333333,
                          0.11764705882352941,
                          0.10526315789473684,
                          0.09523809523809523,
                          0.08695652173913043};
  const mask<double> denormal = x < Float<double>::min_normal;
  const Decomposed<double> d = decompose(select<double>(denormal, x * 0x1p52, x));
  const vec<double> e = to_float<double>(d.e) - select<double>(denormal, vec<double>(52), vec<double>(0));
  const vec<double> f = d.m - 1.0;

  const Sum below = sum_of(vec<double>(2), f);
  const vec<double> s = f / below.high;
  const Sum back = product_of(s, below.high);
  const vec<double> s_low = (((f - back.high) - back.low) - s * below.low) / below.high;

  const Sum z = product_of(s, s);
  const vec<double> z_low = z.low + 2.0 * s * s_low;
  const Sum r = sum_of(vec<double>(0.6666666666666666), z.high * polynomial<double>(z.high, p));
  const vec<double> r_low = r.low + 3.700743415417188e-17;  // the rest of 2/3
  const Sum cube = product_of(s, z.high);
  const vec<double> cube_low = cube.low + s * z_low + s_low * z.high;
  const Sum tail = product_of(cube.high, r.high);
  const vec<double> tail_low = tail.low + cube.high * r_low + cube_low * r.high;

  const Sum fraction = sum_of(2.0 * s, tail.high);
  const Sum total = sum_of(e * Float<double>::ln2_high, fraction.high);
  const vec<double> low = total.low + (fraction.low + (2.0 * s_low + tail_low) + e * Float<double>::ln2_low);
  return sum_of(total.high, low);
}

CHAINRULE_INLINE mask<double> is_whole(vec<double> a) {  // of a >= 0
  return (a >= 0x1p52) | ((a + 0x1p52) - 0x1p52 == a);
}

// Given log |x| for a finite |x| > 0 (anything, elsewhere).
CHAINRULE_INLINE vec<double> pow_from_log(vec<double> x, vec<double> y, Sum log_x) {
  const vec<double> a = abs(x), b = abs(y), inf(Float<double>::inf);
  vec<double> l = select<double>(a < inf, log_x.high, a);  // inf and NaN
  l = select<double>(a == 0.0, -inf, l);
  const Sum product = product_of(y, l);
  const vec<double> low = product.low + y * log_x.low;
  // Beyond 800 the result is 0 or inf, and the low part may be NaN.
  vec<double> exponent =
      max(vec<double>(ExpRange<double>::least), min(vec<double>(ExpRange<double>::most), product.high));
  exponent = select<double>((a == 1.0) | (y == 0.0), vec<double>(0), exponent);
  const ExpParts<double> e = exp_parts(exponent, select<double>(abs(product.high) < 800.0, low, vec<double>(0)));
  vec<double> r = scale(e.tail + 1.0, e.n);

  const mask<double> whole = is_whole(b), odd = whole & ~is_whole(b * 0.5);
  const mask<double> negative = bitcast<i64>(x) < i64(0);
  r = select<double>(negative & odd, -r, r);
  r = select<double>((x < 0.0) & (a < inf) & ~whole, vec<double>(Float<double>::nan), r);
  r = select<double>((x != x) | (y != y), x + y, r);
  return select<double>((y == 0.0) | (x == 1.0), vec<double>(1), r);
}

CHAINRULE_INLINE vec<double> pow(vec<double> x, vec<double> y) { return pow_from_log(x, y, precise_log(abs(x))); }

// For |x| and y that were floats: 2^(y log2 |x|), 0 and inf where a float can hold no more. x is not 0, inf or NaN.
//   s = f / (2 + f)       log2(1 + f) = s p(s^2)       2^r, |r| <= 1/2, by a polynomial
CHAINRULE_INLINE vec<double> pow_of_floats(vec<double> x, vec<double> y) {
  constexpr double p[] = {2.88539008179008, 0.9617966733500468, 0.5770835832698015, 0.4116728269664619,
                          0.3407280056213833};
  constexpr double exp2[] = {1.0000000005550491, 0.6931472057671417,    0.240226468860768,     0.05550328711804955,
                             0.0096184892447526, 0.0013399957627093775, 0.00015345788872534857};
  const Decomposed<double> d = decompose(x);  // no float is denormal as a double
  const vec<double> s = (d.m - 1.0) / (d.m + 1.0);
  const vec<double> log2 = fma(s, polynomial<double>(s * s, p), to_float<double>(d.e));
  const vec<double> t = max(vec<double>(-200), min(vec<double>(200), y * log2));
  const WholeNumber<double> n = whole(t, 1.0);
  return polynomial<double>(t - n.value, exp2) * power_of_two(n);
}
CHAINRULE_INLINE vec<float> pow(vec<float> x, vec<float> y) {
  const vec<float> a = abs(x), b = abs(y), inf(Float<float>::inf);
  const Widened u = widen(a), v = widen(y);
  vec<float> r = narrow({pow_of_floats(u.low, v.low), pow_of_floats(u.high, v.high)});
  if (all((x > 0.0f) & (x < inf) & (b < inf))) return r;

  // |x| = 0 or inf, or y = +-inf: 0 or inf, by whether |x| > 1 and y > 0; 1 where |x| = 1.
  const mask<float> extreme = (a == 0.0f) | (a == inf) | (b == inf), grows = (a > 1.0f) ^ (y < 0.0f);
  r = select<float>(extreme, select<float>(grows, inf, vec<float>(0)), r);
  r = select<float>(a == 1.0f, vec<float>(1), r);
  const auto is_whole = [](vec<float> c) { return (c >= 0x1p23f) | ((c + 0x1p23f) - 0x1p23f == c); };
  const mask<float> whole = is_whole(b), odd = whole & ~is_whole(b * 0.5f);
  r = select<float>((bitcast<i32>(x) < 0) & odd, -r, r);
  r = select<float>((x < 0.0f) & (a < inf) & ~whole, vec<float>(Float<float>::nan), r);
  r = select<float>((x != x) | (y != y), x + y, r);
  return select<float>((y == 0.0f) | (x == 1.0f), vec<float>(1), r);
}

}  // namespace chainrule::CHAINRULE_ISA
