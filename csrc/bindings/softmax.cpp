#include "bindings/axes.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

constexpr double kExp = 0.5;  // ns an element, beside its traffic

template <class T>
using Forward = void (*Kernels<T>::*)(Team&, T*, const T*, i64, i64, i64);
template <class T>
using Backward = void (*Kernels<T>::*)(Team&, T*, const T*, const T*, i64, i64, i64);

template <class T>
py::array forward(const char* op, Forward<T> kernel, py::handle x, py::handle axis) {
  const auto in = input<T>(op, "x", x);
  const Form f = form_of_axis(in.shape(), axis_index(op, "axis", axis, in.ndim));
  py::array y = empty<T>(op, in.shape());
  if (in.size)
    launch(Work((2 * bytes(sizeof(T)) + kExp) * double(in.size)), kernels<T>().*kernel, data<T>(y), in.data, f.outer,
           f.n, f.inner);
  return y;
}

template <class T>
py::array backward(const char* op, Backward<T> kernel, py::handle dy, py::handle y, py::handle axis) {
  const auto g = input<T>(op, "dy", dy);
  const auto out = input<T>(op, "y", y, g.shape());
  const Form f = form_of_axis(g.shape(), axis_index(op, "axis", axis, g.ndim));
  py::array dx = empty<T>(op, g.shape());
  if (g.size)
    launch(Work(bytes(3.0 * sizeof(T) * double(g.size))), kernels<T>().*kernel, data<T>(dx), g.data, out.data, f.outer,
           f.n, f.inner);
  return dx;
}

py::array softmax(py::handle x, py::handle axis) {
  return is_float32("softmax", "x", x) ? forward<float>("softmax", &Kernels<float>::softmax, x, axis)
                                       : forward<double>("softmax", &Kernels<double>::softmax, x, axis);
}
py::array log_softmax(py::handle x, py::handle axis) {
  return is_float32("log_softmax", "x", x) ? forward<float>("log_softmax", &Kernels<float>::log_softmax, x, axis)
                                           : forward<double>("log_softmax", &Kernels<double>::log_softmax, x, axis);
}
py::array softmax_backward(py::handle dy, py::handle y, py::handle axis) {
  constexpr const char* op = "softmax_backward";
  return is_float32(op, "dy", dy) ? backward<float>(op, &Kernels<float>::softmax_backward, dy, y, axis)
                                  : backward<double>(op, &Kernels<double>::softmax_backward, dy, y, axis);
}
py::array log_softmax_backward(py::handle dy, py::handle y, py::handle axis) {
  constexpr const char* op = "log_softmax_backward";
  return is_float32(op, "dy", dy) ? backward<float>(op, &Kernels<float>::log_softmax_backward, dy, y, axis)
                                  : backward<double>(op, &Kernels<double>::log_softmax_backward, dy, y, axis);
}

}  // namespace

BINDINGS(softmax) {
  define(m, "softmax", softmax, py::arg("x"), py::arg("axis") = -1);
  define(m, "softmax_backward", softmax_backward, py::arg("dy"), py::arg("y"), py::arg("axis") = -1);
  define(m, "log_softmax", log_softmax, py::arg("x"), py::arg("axis") = -1);
  define(m, "log_softmax_backward", log_softmax_backward, py::arg("dy"), py::arg("y"), py::arg("axis") = -1);
}

}  // namespace chainrule
