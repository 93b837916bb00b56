// Activations and their derivatives on a vec, for the element-wise kernels and for the epilogues of linear and conv2d.
//
//   activate<A>(x, slope)             y
//   activate_backward<A>(dy, saved)   dx = dy * derivative; saved is y for relu, leaky_relu (slope >= 0), sigmoid and
//                                     tanh, and x (the pre-activation) for gelu, gelu_tanh and silu
//
//   relu        max(x, 0), NaN stays NaN              1 where y > 0, else 0
//   leaky_relu  x where x > 0, else slope x           1 where y > 0, else slope (x does as well as y)
//   sigmoid     1 / (1 + e^-x)                        y (1 - y)
//   tanh                                              1 - y^2
//   silu        x s, s = sigmoid(x)                   s (1 + x (1 - s))
//   gelu        x Phi(x)                              Phi(x) + x phi(x)
//   gelu_tanh   x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
//                                                     s + x s (1 - s) 2 u', s = sigmoid(2 u)
#pragma once
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {

constexpr double kGeluScale = 1.5957691216057308;  // 2 sqrt(2 / pi)
constexpr double kGeluCubic = 0.044715;

template <Activation A, class T>
CHAINRULE_INLINE vec<T> activate(vec<T> x, T slope = T(0.01)) {
  if constexpr (A == Activation::relu) return max(vec<T>(0), x);
  if constexpr (A == Activation::leaky_relu) return select<T>(x > T(0), x, x * slope);
  if constexpr (A == Activation::gelu) return gelu(x);
  if constexpr (A == Activation::gelu_tanh)
    return x * sigmoid(x * fma(x * x, vec<T>(T(kGeluScale * kGeluCubic)), vec<T>(T(kGeluScale))));
  if constexpr (A == Activation::silu) return x * sigmoid(x);
  if constexpr (A == Activation::sigmoid) return sigmoid(x);
  if constexpr (A == Activation::tanh) return tanh(x);
  return x;
}

template <Activation A, class T>
CHAINRULE_INLINE vec<T> activate_backward(vec<T> dy, vec<T> saved, T slope = T(0.01)) {
  const vec<T> y = saved, one(1);
  if constexpr (A == Activation::relu) return select<T>(y > T(0), dy, vec<T>(0));
  if constexpr (A == Activation::leaky_relu) return select<T>(y > T(0), dy, dy * slope);
  if constexpr (A == Activation::sigmoid) return dy * (y * (one - y));
  if constexpr (A == Activation::tanh) return dy * fma(-y, y, one);
  // Beyond +-100 the term with x is zero; x is held there so that it doesn't become 0 * inf.
  const vec<T> x = max(vec<T>(-100), min(vec<T>(100), saved));
  if constexpr (A == Activation::silu) {
    const vec<T> s = sigmoid(saved);
    return dy * (s * fma(x, one - s, one));
  }
  if constexpr (A == Activation::gelu) return dy * gelu_slope(saved);
  if constexpr (A == Activation::gelu_tanh) {
    const vec<T> x2 = x * x;
    const vec<T> s = sigmoid(x * fma(x2, vec<T>(T(kGeluScale * kGeluCubic)), vec<T>(T(kGeluScale))));
    const vec<T> slope_of_2u = fma(x2, vec<T>(T(3 * kGeluScale * kGeluCubic)), vec<T>(T(kGeluScale)));
    return dy * fma(x * slope_of_2u, s * (one - s), s);
  }
  return dy;
}

// f(tag) with tag.value the constant `a`: for kernels that get the activation as an argument.
template <Activation A>
struct ActivationConstant {
  static constexpr Activation value = A;
};
template <class F>
CHAINRULE_INLINE void by_activation(Activation a, F&& f) {
  switch (a) {
    case Activation::none:
      return f(ActivationConstant<Activation::none>());
    case Activation::relu:
      return f(ActivationConstant<Activation::relu>());
    case Activation::leaky_relu:
      return f(ActivationConstant<Activation::leaky_relu>());
    case Activation::gelu:
      return f(ActivationConstant<Activation::gelu>());
    case Activation::gelu_tanh:
      return f(ActivationConstant<Activation::gelu_tanh>());
    case Activation::silu:
      return f(ActivationConstant<Activation::silu>());
    case Activation::sigmoid:
      return f(ActivationConstant<Activation::sigmoid>());
    case Activation::tanh:
      return f(ActivationConstant<Activation::tanh>());
  }
}

}  // namespace chainrule::CHAINRULE_ISA
