// Where the elements of an array lie. Element-wise kernels walk flat memory, whatever the order of the dimensions in
// it: results lie as their operands do (PyTorch's rule: the order of the first operand's strides decides).
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

// The strides, in elements, that a dense array of this shape has when its dimensions lie in the order that the
// operands' strides give, the first operand's before the second's. stride(operand, dimension); 0 has no say.
template <class F>
Shape dense_strides(const Shape& shape, int operands, F&& stride) {
  const int ndim = int(shape.size());
  std::vector<int> order;  // fastest first
  order.reserve(size_t(ndim));
  // Whether a must come after b, which is faster so far; -1: surely not; 0: the operands don't say.
  const auto after = [&](int a, int b) {
    for (int o = 0; o < operands; o++) {
      const i64 s = stride(o, a), t = stride(o, b), u = s < 0 ? -s : s, v = t < 0 ? -t : t;
      if (u == 0 || v == 0) continue;
      if (u != v) return u > v ? 1 : -1;
      if (shape[size_t(a)] > shape[size_t(b)]) return 1;
    }
    return 0;
  };
  for (int d = ndim - 1; d >= 0; d--) {
    order.push_back(d);
    for (size_t at = order.size() - 1, i = at; i-- > 0;) {
      const int says = after(order[i], d);
      if (says < 0) break;
      if (says > 0) std::swap(order[i], order[at]), at = i;
    }
  }
  Shape strides(shape.size());
  i64 step = 1;
  for (const int d : order) {
    strides[size_t(d)] = step;
    if (shape[size_t(d)] > 1) step *= shape[size_t(d)];
  }
  return strides;
}

// Those of a dense array that lies as x does; x may repeat elements, leave some out, or walk backwards.
Shape dense_strides(const py::array& x);
// Whether x has these strides, in elements, where they matter: along sizes above 1.
bool lies_in(const py::array& x, const Shape& strides);

// An input as a kernel wants it that walks flat memory: input() in x's own order; and in the order of another array, of
// whose shape x must be.
template <class T>
Input<T> dense(const char* op, const char* arg, py::handle x);
template <class T>
Input<T> dense(const char* op, const char* arg, py::handle x, const py::array& like);

// Refuses x, an argument, where its shape isn't that of the array `like`.
void want_shape_of(const char* op, const char* arg, const py::array& x, py::handle like);

// A fresh uninitialised array that lies as another.
template <class T>
py::array empty_like(const char* op, const py::array& like);
py::array empty_like(const char* op, const py::dtype& dtype, const py::array& like);

// A copy of any view with these strides: native and aligned.
py::array laid_out(const char* op, const py::array& x, const Shape& strides);

}  // namespace chainrule
