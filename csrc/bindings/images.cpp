#include "bindings/images.h"

namespace chainrule {
namespace {

py::array in_channels_last(const char* op, const py::dtype& dtype, const Shape& s) {
  const py::array pixels = empty(op, dtype, {s[0], s[2], s[3], s[1]});
  return py::array(pixels.attr("transpose")(0, 3, 1, 2));
}

template <class T>
bool readable(const py::array& a) {
  const py::dtype want = py::dtype::of<T>(), got = a.dtype();
  const char order = got.byteorder();
  return (a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) && (order == '=' || order == '|') &&
         got.kind() == want.kind() && got.itemsize() == want.itemsize();
}

template <class T>
Images<T> images_of(const py::array& a, Format format) {
  return {{a, static_cast<const T*>(a.data()), i64(a.size()), 4}, format};
}

}  // namespace

Format format_of(const py::array& x) {
  if (x.ndim() != 4) return Format::channels_first;
  const i64 item = i64(x.itemsize()), c = i64(x.shape(1)), h = i64(x.shape(2)), w = i64(x.shape(3));
  const bool last = i64(x.strides(1)) == item && i64(x.strides(3)) == c * item && i64(x.strides(2)) == w * c * item &&
                    (x.shape(0) == 1 || i64(x.strides(0)) == h * w * c * item);
  return last ? Format::channels_last : Format::channels_first;
}

template <class T>
Images<T> images(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::array>(x)) {
    const py::array a = py::reinterpret_borrow<py::array>(x);
    if (format_of(a) == Format::channels_last && readable<T>(a)) return images_of<T>(a, Format::channels_last);
  }
  return images_of<T>(input<T>(op, arg, x, 4).array, Format::channels_first);
}

template <class T>
Images<T> images(const char* op, const char* arg, py::handle x, const Shape& shape, Format format) {
  const Images<T> in = images<T>(op, arg, x);
  if (in.shape() != shape) refuse(op, arg, describe(x), "shape " + str(shape));
  if (in.format == format) return in;
  py::array copy = empty_images<T>(op, shape, format);
  launch_copy(op, copy, in.array);
  return images_of<T>(copy, format);
}

template <class T>
py::array empty_images(const char* op, const Shape& shape, Format format) {
  return format == Format::channels_last ? in_channels_last(op, py::dtype::of<T>(), shape) : empty<T>(op, shape);
}

#define INSTANCE(T)                                                                         \
  template Images<T> images<T>(const char*, const char*, py::handle);                       \
  template Images<T> images<T>(const char*, const char*, py::handle, const Shape&, Format); \
  template py::array empty_images<T>(const char*, const Shape&, Format);
INSTANCE(float)
INSTANCE(double)
INSTANCE(i64)

}  // namespace chainrule
