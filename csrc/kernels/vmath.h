// Vector functions on vec<float> and vec<double>: our own polynomials in explicit FMA, the same operations on every
// ISA, so the same bits on every ISA that has FMA. Denormals, infinities, signed zeros and NaN are handled; no libm is
// called.
//
// Worst error in units of the last place, held by tests/kernels/test_vmath.py; without FMA half a unit more. In float64
// erf, erfc and gelu are held against libm, to 2.1, 7 and 9: its own error comes on top.
//
//          float double          float double             float double        float double
//   exp    1.1   1.1     log     0.9   0.9     erf        1.1   1.1      pow  0.6   1.2
//   expm1  1.7   2.2     log1p   1.5   1.5     erfc       6     6        gelu 7.5   9      erfc and gelu: relative,
//   sin    0.6   1.5     cos     0.6   1.5
//   tanh   2.5   2.8     sigmoid 2.5   2.5                                                 also in the tail
#pragma once
#include "vmath_erf.h"
#include "vmath_exp.h"
#include "vmath_log.h"
#include "vmath_pow.h"
#include "vmath_trig.h"
