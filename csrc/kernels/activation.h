// The activations that element-wise kernels and the epilogues of linear and conv2d share: y = f(z), dz = dy f'(z).
// The backward form reads what a forward pass saves: y for relu, leaky_relu, sigmoid and tanh, z for the others.
#pragma once
#include "simd.h"

namespace chainrule::CHAINRULE_ISA {

constexpr double kLeakySlope = 0.01;

// A kind as a type, so that with_activation can hand it to a generic lambda: activate<decltype(kind)::value>(z).
template <Activation A>
struct ActivationKind {
  static constexpr Activation value = A;
};

template <Activation A, class T>
CHAINRULE_INLINE vec<T> activate(vec<T> z) {
  if constexpr (A == Activation::none) return z;
  if constexpr (A == Activation::relu) return select<T>(z < T(0), vec<T>(0), z);
  if constexpr (A == Activation::leaky_relu) return select<T>(z > T(0), z, z * T(kLeakySlope));
}

template <Activation A, class T>
CHAINRULE_INLINE vec<T> activation_backward(vec<T> dy, vec<T> saved) {
  if constexpr (A == Activation::none) return dy;
  if constexpr (A == Activation::relu) return select<T>(saved > T(0), dy, vec<T>(0));
  if constexpr (A == Activation::leaky_relu) return select<T>(saved > T(0), dy, dy * T(kLeakySlope));
}

// f(ActivationKind<a>()).
template <class F>
CHAINRULE_INLINE void with_activation(Activation a, F&& f) {
  switch (a) {
    case Activation::relu:
      return f(ActivationKind<Activation::relu>());
    case Activation::leaky_relu:
      return f(ActivationKind<Activation::leaky_relu>());
    default:
      return f(ActivationKind<Activation::none>());
  }
}

}  // namespace chainrule::CHAINRULE_ISA
