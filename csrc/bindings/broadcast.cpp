#include "bindings/broadcast.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "bindings/layout.h"
#include "runtime/recording.h"

namespace chainrule {

bool is_number(py::handle x) {
  if (PyFloat_Check(x.ptr()) || PyLong_Check(x.ptr())) return true;  // bool is an int
  return !py::isinstance<py::array>(x) && PyNumber_Check(x.ptr()) && py::hasattr(x, "dtype");
}

template <class T>
View view(const char* op, const char* arg, py::handle x) {
  if (!py::isinstance<py::array>(x)) {
    if (!is_number(x)) refuse_type(op, arg, describe(x), "a NumPy array or a number");
    const double value = PyFloat_AsDouble(x.ptr());
    if (value == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      refuse(op, arg, std::string(py::str(x)), "a number that a float can hold");
    }
    const Recording::Kept number;
    py::array a = empty<T>(op, {});
    *data<T>(a) = T(value);
    return {a, a.data(), 0};
  }
  auto a = py::reinterpret_borrow<py::array>(x);
  bool whole = readable<T>(a);
  for (int d = 0; d < a.ndim(); d++) whole = whole && a.strides(d) % i64(sizeof(T)) == 0;
  if (!whole) a = input<T>(op, arg, x).array;
  return {a, a.data(), int(a.ndim())};
}

namespace {

[[noreturn]] void refuse_shapes(const char* op, std::initializer_list<Operand> operands) {
  std::string all;
  for (const Operand& o : operands) all += (all.empty() ? "" : ", ") + str(shape_of(o.view.array)) + " of " + o.arg;
  refuse(op, "the shapes " + all + " don't broadcast");
}

// Element strides along `d` of the broadcast shape of `ndim` dimensions.
i64 stride_of(const View& v, int ndim, int d) {
  const int own = d - (ndim - v.ndim);
  return own < 0 || v.array.shape(own) == 1 ? 0 : v.array.strides(own) / v.array.itemsize();
}

// Of the result; none for C order. A size of 1 that isn't broadcast keeps its place: images of one channel stay in
// their format.
Shape strides_of(const Shape& shape, std::initializer_list<Operand> operands) {
  const int ndim = int(shape.size()), count = int(operands.size());
  const auto stride = [&](int o, int d) {
    const View& v = operands.begin()[o].view;
    const int own = d - (ndim - v.ndim);
    return own < 0 || v.array.shape(own) != shape[size_t(d)] ? i64(0) : i64(v.array.strides(own));
  };
  bool descend = true;  // everybody's strides, as in C order
  for (int o = 0; o < count && descend; o++) {
    i64 before = 0;
    for (int d = 0; d < ndim && descend; d++) {
      const i64 s = stride(o, d);
      if (s == 0) continue;
      descend = s > 0 && (before == 0 || s < before || (s == before && shape[size_t(d)] == 1));
      before = s;
    }
  }
  return descend ? Shape() : dense_strides(shape, count, stride);
}

}  // namespace

Broadcast broadcast(const char* op, std::initializer_list<Operand> operands, Walk walk) {
  int ndim = 0;
  for (const Operand& o : operands) ndim = std::max(ndim, o.view.ndim);
  Broadcast b;
  b.shape = Shape(size_t(ndim), 1);
  for (const Operand& o : operands)
    for (int d = 0; d < o.view.ndim; d++) {
      i64& n = b.shape[size_t(d + ndim - o.view.ndim)];
      const i64 own = i64(o.view.array.shape(d));
      if (n != own && n != 1 && own != 1) refuse_shapes(op, operands);
      if (n == 1) n = own;
    }
  b.size = checked_size(op, b.shape);
  std::vector<int> order;  // of the walk, where it isn't C order
  if (walk == Walk::as_operands_lie) b.strides = strides_of(b.shape, operands);
  if (!b.strides.empty()) {
    order.resize(size_t(ndim));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int d, int e) { return b.strides[size_t(d)] > b.strides[size_t(e)]; });
  }

  // Outermost first. A dimension joins the one before it where stepping over it is one step of that one, for everybody.
  Strided& s = b.space;
  s.dims = 0;
  for (int at = 0; at < ndim; at++) {
    const int d = order.empty() ? at : order[size_t(at)];
    const i64 n = b.shape[size_t(d)];
    if (n == 1 && ndim > 1) continue;
    bool joins = s.dims > 0;
    int k = 0;
    for (const Operand& o : operands) joins = joins && s.stride[k++][s.dims - 1] == n * stride_of(o.view, ndim, d);
    if (!joins && s.dims == kMaxDims) refuse(op, "operands of shape " + str(b.shape) + " need more than 16 dimensions");
    if (!joins) s.shape[s.dims++] = 1;
    s.shape[s.dims - 1] *= n;
    k = 0;
    for (const Operand& o : operands) s.stride[k++][s.dims - 1] = stride_of(o.view, ndim, d);
  }
  if (s.dims == 0) {  // a single element
    s.dims = 1;
    s.shape[0] = 1;
    for (int k = 0; k < kMaxOperands; k++) s.stride[k][0] = 0;
  }
  return b;
}

py::array result(const py::dtype& dtype, const Broadcast& to) { return fresh_array(dtype, to.shape, to.strides); }

template View view<float>(const char*, const char*, py::handle);
template View view<double>(const char*, const char*, py::handle);
template View view<bool>(const char*, const char*, py::handle);
template View view<uint8_t>(const char*, const char*, py::handle);
template View view<i32>(const char*, const char*, py::handle);
template View view<i64>(const char*, const char*, py::handle);

}  // namespace chainrule
