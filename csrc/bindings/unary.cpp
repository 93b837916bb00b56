// Functions of one array, and the activations with their gradients.
#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// kernel(table) gives the kernel; `cost` is in nanoseconds per element beyond moving it; scalars follow the sizes.
template <class F, class... Scalars>
py::array forward(const char* op, py::handle x, double cost, F&& kernel, Scalars... scalars) {
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = dense<T>(op, "x", x);
    py::array y = empty_like<T>(op, in.array);
    launch(Work(bytes(2.0 * sizeof(T) * double(in.size)) + cost * double(in.size)), kernel(kernels<T>()), data<T>(y),
           in.data, in.size, T(scalars)...);
    return y;
  });
}

template <class F, class... Scalars>
py::array backward(const char* op, py::handle dy, const char* saved_arg, py::handle saved, double cost, F&& kernel,
                   Scalars... scalars) {
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto s = dense<T>(op, saved_arg, saved);  // which x lies as, and so does dx
    want_shape_of(op, saved_arg, s.array, dy);
    const auto g = dense<T>(op, "dy", dy, s.array);
    py::array dx = empty_like<T>(op, s.array);
    launch(Work(bytes(3.0 * sizeof(T) * double(g.size)) + cost * double(g.size)), kernel(kernels<T>()), data<T>(dx),
           g.data, s.data, g.size, T(scalars)...);
    return dx;
  });
}

}  // namespace

#define KERNEL_OF(name) [](const auto& table) { return table.name; }

BINDINGS(unary) {
#define UNARY(name, cost) \
  define(                 \
      m, #name, [](py::handle x) { return forward(#name, x, cost, KERNEL_OF(name)); }, py::arg("x"));
  UNARY(abs, 0)
  UNARY(ceil, 0)
  UNARY(cos, 1)
  UNARY(erf, 0.6)
  UNARY(erfc, 0.7)
  UNARY(exp, 0.3)
  UNARY(expm1, 0.3)
  UNARY(floor, 0)
  UNARY(gelu, 0.7)
  UNARY(gelu_tanh, 0.5)
  UNARY(log, 0.4)
  UNARY(log1p, 0.4)
  UNARY(neg, 0)
  UNARY(reciprocal, 0.1)
  UNARY(relu, 0)
  UNARY(round, 0)
  UNARY(rsqrt, 0.3)
  UNARY(sigmoid, 0.4)
  UNARY(sign, 0)
  UNARY(silu, 0.4)
  UNARY(sin, 1)
  UNARY(sqrt, 0.1)
  UNARY(square, 0)
  UNARY(trunc, 0)
  UNARY(tanh, 0.4)
#undef UNARY
#define BACKWARD(name, saved, cost)                                                                                \
  define(                                                                                                          \
      m, #name, [](py::handle dy, py::handle s) { return backward(#name, dy, #saved, s, cost, KERNEL_OF(name)); }, \
      py::arg("dy"), py::arg(#saved));
  BACKWARD(gelu_backward, x, 0.9)
  BACKWARD(gelu_tanh_backward, x, 0.6)
  BACKWARD(relu_backward, y, 0)
  BACKWARD(sigmoid_backward, y, 0)
  BACKWARD(silu_backward, x, 0.5)
  BACKWARD(tanh_backward, y, 0)
#undef BACKWARD
  define(
      m, "leaky_relu",
      [](py::handle x, double slope) { return forward("leaky_relu", x, 0, KERNEL_OF(leaky_relu), slope); },
      py::arg("x"), py::arg("slope"));
  define(
      m, "leaky_relu_backward",
      [](py::handle dy, py::handle x, double slope) {
        return backward("leaky_relu_backward", dy, "x", x, 0, KERNEL_OF(leaky_relu_backward), slope);
      },
      py::arg("dy"), py::arg("x"), py::arg("slope"));
  define(
      m, "clamp",
      [](py::handle x, double low, double high) { return forward("clamp", x, 0, KERNEL_OF(clamp), low, high); },
      py::arg("x"), py::arg("low"), py::arg("high"));
  define(
      m, "clamp_backward",
      [](py::handle dy, py::handle x, double low, double high) {
        return backward("clamp_backward", dy, "x", x, 0, KERNEL_OF(clamp_backward), low, high);
      },
      py::arg("dy"), py::arg("x"), py::arg("low"), py::arg("high"));
}

}  // namespace chainrule
