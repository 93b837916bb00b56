// Functions of one array: y[i] = f(x[i]). The vector functions are vmath.h's. Also
//   clamp: y = min(max(x, low), high), NaN stays NaN      dx = dy where low <= x <= high, else 0
#include "kernels.h"
#include "loops.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {

#define UNARY(name, expression)                                \
  template <class T>                                           \
  void name(Team& team, T* y, const T* x, i64 n) {             \
    parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) {          \
      const vec<T> v = load(x + i, lanes);                     \
      store(y + i, expression, lanes);                         \
    });                                                        \
  }                                                            \
  template void name<float>(Team&, float*, const float*, i64); \
  template void name<double>(Team&, double*, const double*, i64);
UNARY(abs, abs(v))
UNARY(erf, erf(v))
UNARY(erfc, select<T>(v == v, erfc(v), v))  // the sign of a product of two NaN is the compiler's choice
UNARY(exp, exp(v))
UNARY(expm1, expm1(v))
UNARY(log, log(v))
UNARY(log1p, log1p(v))
UNARY(neg, -v)
UNARY(reciprocal, T(1) / v)
UNARY(rsqrt, T(1) / sqrt(v))
UNARY(sqrt, sqrt(v))
UNARY(square, v* v)
#undef UNARY

template <class T>
void clamp(Team& team, T* y, const T* x, i64 n, T low, T high) {
  parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) {
    store(y + i, min(vec<T>(high), max(vec<T>(low), load(x + i, lanes))), lanes);  // NaN is the second operand of both
  });
}

template <class T>
void clamp_backward(Team& team, T* dx, const T* dy, const T* x, i64 n, T low, T high) {
  parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) {
    const vec<T> v = load(x + i, lanes);
    store(dx + i, select<T>((v >= low) & (v <= high), load(dy + i, lanes), vec<T>(0)), lanes);
  });
}

INSTANTIATE(clamp)
INSTANTIATE(clamp_backward)

}  // namespace chainrule::CHAINRULE_ISA
