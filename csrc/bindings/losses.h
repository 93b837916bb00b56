// What the bindings of losses share.
#pragma once
#include <optional>

#include "bindings/arrays.h"

namespace chainrule {

// "none", "mean" or "sum".
Reduction reduction_named(const char* op, py::handle name);

// Indices as int64: an int64 array as input() takes it, an int32 one converted.
Input<i64> indices(const char* op, const char* arg, py::handle x);

// An input that may be None: then its data is nullptr.
template <class T>
const T* pointer(const std::optional<Input<T>>& in) {
  return in ? in->data : nullptr;
}
template <class T>
std::optional<Input<T>> optional_input(const char* op, const char* arg, py::handle x, const Shape& shape) {
  if (x.is_none()) return std::nullopt;
  return input<T>(op, arg, x, shape);
}

}  // namespace chainrule
