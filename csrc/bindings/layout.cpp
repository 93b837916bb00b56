#include "bindings/layout.h"

namespace chainrule {
namespace {

// Whether the strides are those of C order, as they are written.
bool is_plain(const py::array& x) {
  i64 step = i64(x.itemsize());
  for (int d = int(x.ndim()) - 1; d >= 0; d--) {
    if (i64(x.strides(d)) != step) return false;
    if (x.shape(d) > 1) step *= i64(x.shape(d));
  }
  return true;
}

}  // namespace

Shape dense_strides(const py::array& x) {
  return dense_strides(shape_of(x), 1, [&](int, int d) { return i64(x.strides(d)); });
}

bool lies_in(const py::array& x, const Shape& strides) {
  const i64 item = i64(x.itemsize());
  for (int d = 0; d < x.ndim(); d++)
    if (x.shape(d) != 1 && i64(x.strides(d)) != strides[size_t(d)] * item) return false;
  return true;
}

template <class T>
Input<T> dense(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::array>(x)) {
    const auto a = py::reinterpret_borrow<py::array>(x);
    if (!(a.flags() & py::array::c_style) && readable<T>(a)) {
      const Shape strides = dense_strides(a);
      return input_of<T>(lies_in(a, strides) ? a : laid_out(op, a, strides));
    }
  }
  return input<T>(op, arg, x);
}

template <class T>
Input<T> dense(const char* op, const char* arg, py::handle x, const py::array& like) {
  const bool plain = like.flags() & py::array::c_style;
  Input<T> in = plain ? input<T>(op, arg, x) : dense<T>(op, arg, x);
  if (in.shape() != shape_of(like)) refuse(op, arg, describe(x), "shape " + str(shape_of(like)));
  if (plain) return in;
  const Shape strides = dense_strides(like);
  return lies_in(in.array, strides) ? in : input_of<T>(laid_out(op, in.array, strides));
}

void want_shape_of(const char* op, const char* arg, const py::array& x, py::handle like) {
  const Shape want = shape_of(py::reinterpret_borrow<py::array>(like));
  if (shape_of(x) != want) refuse(op, arg, describe(x), "shape " + str(want));
}

py::array empty_like(const char* op, const py::dtype& dtype, const py::array& like) {
  const Shape shape = shape_of(like);
  const i64 item = i64(dtype.itemsize());
  checked_size(op, shape, item > 0 ? item : 1);
  return fresh_array(dtype, shape, is_plain(like) ? Shape() : dense_strides(like));
}

template <class T>
py::array empty_like(const char* op, const py::array& like) {
  return empty_like(op, py::dtype::of<T>(), like);
}

py::array laid_out(const char* op, const py::array& x, const Shape& strides) {
  const py::array from = is_native(x) ? x : contiguous(op, x);
  py::array y = fresh_array(from.dtype(), shape_of(x), strides);
  launch_copy(op, y, from);
  return y;
}

#define INSTANCE(T)                                                                   \
  template Input<T> dense<T>(const char*, const char*, py::handle);                   \
  template Input<T> dense<T>(const char*, const char*, py::handle, const py::array&); \
  template py::array empty_like<T>(const char*, const py::array&);
INSTANCE(float)
INSTANCE(double)
INSTANCE(bool)

}  // namespace chainrule
