// Operands read where they lie: views with strides, broadcast against each other into one iteration space.
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

// An array of any strides, or a Python number as a 0-d array. Misaligned, byte-swapped and oddly strided views are
// copied.
struct View {
  py::array array;
  const void* data;
  int ndim;
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};
template <class T>
View view(const char* op, const char* arg, py::handle x);

// The space that the operands broadcast to, walked in the order in which a result lies that has these strides (in
// elements, none for C order; layout.h) and shape. Its dimensions are merged where every operand allows it.
struct Broadcast {
  Strided space;
  Shape shape, strides;
  i64 size;
};
struct Operand {
  const char* arg;
  const View& view;
};
enum class Walk { as_operands_lie, in_c_order };
Broadcast broadcast(const char* op, std::initializer_list<Operand> operands, Walk walk = Walk::as_operands_lie);

// The result: a fresh uninitialised array.
py::array result(const py::dtype& dtype, const Broadcast& to);
template <class T>
py::array result(const Broadcast& to) {
  return result(py::dtype::of<T>(), to);
}

bool is_number(py::handle x);  // int, float, bool or a NumPy scalar, but no array

}  // namespace chainrule
