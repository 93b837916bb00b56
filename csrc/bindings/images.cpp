#include "bindings/images.h"

#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

Shape strides_of_last(const Shape& s) { return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]}; }  // in elements

}  // namespace

Format format_of(const py::array& x) {
  if (x.ndim() != 4 || x.strides(1) == 0 || x.shape(1) * x.shape(2) * x.shape(3) == 0) return Format::channels_first;
  i64 least = 0;
  for (const int d : {1, 3, 2, 0}) {
    if (d == 0 && least == i64(x.strides(1))) return Format::channels_first;  // of 1 x 1 x 1 strides say nothing
    if (d == 0 && x.shape(0) <= 1) break;
    if (i64(x.strides(d)) < least) return Format::channels_first;
    least = i64(x.strides(d)) * i64(x.shape(d));
  }
  return Format::channels_last;
}

template <class T>
Images<T> images(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::array>(x)) {
    const py::array a = py::reinterpret_borrow<py::array>(x);
    if (format_of(a) == Format::channels_last && readable<T>(a)) {
      const Shape strides = strides_of_last(shape_of(a));
      return {input_of<T>(lies_in(a, strides) ? a : laid_out(op, a, strides)), Format::channels_last};
    }
  }
  return {input<T>(op, arg, x, 4), Format::channels_first};
}

template <class T>
Images<T> images(const char* op, const char* arg, py::handle x, const Shape& shape, Format format) {
  const Images<T> in = images<T>(op, arg, x);
  if (in.shape() != shape) refuse(op, arg, describe(x), "shape " + str(shape));
  if (in.format == format) return in;
  py::array copy = empty_images<T>(op, shape, format);
  launch_copy(op, copy, in.array);
  return {input_of<T>(copy), format};
}

template <class T>
py::array empty_images(const char* op, const Shape& shape, Format format) {
  if (format == Format::channels_first) return empty<T>(op, shape);
  checked_size(op, shape, sizeof(T));
  return fresh_array(py::dtype::of<T>(), shape, strides_of_last(shape));
}

BINDINGS(images) {
  define(
      m, "is_channels_last", [](const py::array& x) { return format_of(x) == Format::channels_last; }, py::arg("x"));
}

#define INSTANCE(T)                                                                         \
  template Images<T> images<T>(const char*, const char*, py::handle);                       \
  template Images<T> images<T>(const char*, const char*, py::handle, const Shape&, Format); \
  template py::array empty_images<T>(const char*, const Shape&, Format);
INSTANCE(float)
INSTANCE(double)
INSTANCE(i64)

}  // namespace chainrule
