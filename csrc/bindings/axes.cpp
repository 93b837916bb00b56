#include "bindings/axes.h"

namespace chainrule {

int axis_index(const char* op, const char* arg, py::handle axis, int ndim) {
  // __index__: Python's and NumPy's integers, but not floats; bool is an int that nobody means as an axis.
  if (py::isinstance<py::bool_>(axis) || !PyIndex_Check(axis.ptr())) refuse_type(op, arg, describe(axis), "an int");
  const Py_ssize_t i = PyNumber_AsSsize_t(axis.ptr(), nullptr);  // saturates
  if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (i < -ndim || i >= ndim)
    refuse(op, arg, std::to_string(i), "an axis of an array of " + std::to_string(ndim) + " dimensions");
  return int(i < 0 ? i + ndim : i);
}

std::vector<bool> axis_flags(const char* op, const char* arg, py::handle axis, int ndim) {
  if (axis.is_none()) return std::vector<bool>(size_t(ndim), true);
  std::vector<bool> flags(size_t(ndim), false);
  if (!py::isinstance<py::tuple>(axis) && !py::isinstance<py::list>(axis)) {
    flags[size_t(axis_index(op, arg, axis, ndim))] = true;
    return flags;
  }
  for (py::handle a : axis) {
    const size_t i = size_t(axis_index(op, arg, a, ndim));
    if (flags[i]) refuse(op, arg, py::str(axis), "axes that are all different");
    flags[i] = true;
  }
  return flags;
}

Form form_of_axis(const Shape& shape, int axis) {
  Form f = {1, shape[size_t(axis)], 1};
  for (int i = 0; i < int(shape.size()); i++)
    if (i != axis) (i < axis ? f.outer : f.inner) *= shape[size_t(i)];
  return f;
}

Shape reduced_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims) {
  Shape out;
  for (size_t i = 0; i < shape.size(); i++) {
    if (!reduced[i]) out.push_back(shape[i]);
    if (reduced[i] && keepdims) out.push_back(1);
  }
  return out;
}

std::vector<Form> reduction_passes(const Shape& shape, const std::vector<bool>& reduced) {
  std::vector<Form> passes;
  i64 outer = 1, n = 1, inner = 1;  // of the run of reduced axes at hand, from the innermost axis out
  for (i64 size : shape) outer *= size;
  if (outer == 0) {  // no data: one pass with the right sizes is enough (the product of sizes can't be divided back)
    Form f = {1, 1, 1};
    for (size_t i = 0; i < shape.size(); i++) (reduced[i] ? f.n : f.outer) *= shape[i];
    return {f};
  }
  bool open = false;
  const auto close = [&] {
    if (open) passes.push_back({outer, n, inner});
    open = false;
    n = 1;
  };
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    if (reduced[i]) {
      outer /= shape[i];
      n *= shape[i];
      open = true;
    } else {
      close();
      outer /= shape[i];
      inner *= shape[i];
    }
  }
  // A pass closes before the kept axes outside it leave `outer`; the last one closes here.
  close();
  if (passes.empty()) passes.push_back({1, 1, inner});
  return passes;
}

}  // namespace chainrule
