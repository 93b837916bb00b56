#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

py::array relu(py::handle x) {
  return by_dtype("relu", "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>("relu", "x", x);
    py::array y = empty<T>("relu", in.shape());
    launch(Work(bytes(2.0 * sizeof(T) * in.size)), kernels<T>().relu, data<T>(y), in.data, in.size);
    return y;
  });
}

py::array relu_backward(py::handle dy, py::handle y) {
  return by_dtype("relu_backward", "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = input<T>("relu_backward", "dy", dy);
    const auto out = input<T>("relu_backward", "y", y, g.shape());
    py::array dx = empty<T>("relu_backward", g.shape());
    launch(Work(bytes(3.0 * sizeof(T) * g.size)), kernels<T>().relu_backward, data<T>(dx), g.data, out.data, g.size);
    return dx;
  });
}

}  // namespace

BINDINGS(elementwise) {
  m.def("relu", relu, py::arg("x"));
  m.def("relu_backward", relu_backward, py::arg("dy"), py::arg("y"));
}

}  // namespace chainrule
