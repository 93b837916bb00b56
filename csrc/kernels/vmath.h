// Vector functions on vec<float> and vec<double>: our own polynomials in explicit FMA, the same operations on every
// ISA, so the same bits on every ISA that has FMA. Denormals, infinities, signed zeros and NaN are handled; no libm is
// called.
//
// Worst error in units of the last place, over all magnitudes (tests/kernels/test_vmath.py holds the code to this
// table; without FMA, on the generic ISA, half a unit more):
//
//          float double          float double             float double        float double
//   exp    1.1   1.1     log     0.9   0.9     erf        1.1   1.1      pow  0.6   1.2
//   expm1  1.7   2.2     log1p   1.5   1.5     erfc       6     6        gelu 8.5   9      x normal_cdf, and these two
//   tanh   2.5   2.8     sigmoid 2.5   2.5     normal_cdf 6.5   6.5      relative also in the tail
#pragma once
#include "vmath_erf.h"
#include "vmath_exp.h"
#include "vmath_log.h"
#include "vmath_pow.h"
