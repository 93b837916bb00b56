#include "bindings/images.h"

namespace chainrule {
namespace {

py::array in_channels_last(const char* op, const py::dtype& dtype, const Shape& s) {
  checked_size(op, s, i64(dtype.itemsize()));
  return fresh_array(dtype, s, {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]});
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
  if (c == 1 && h == 1 && w == 1) return Format::channels_first;  // strides say nothing there
  const bool last = i64(x.strides(1)) == item && i64(x.strides(3)) == c * item && i64(x.strides(2)) == w * c * item &&
                    (x.shape(0) == 1 || i64(x.strides(0)) == h * w * c * item);
  return last ? Format::channels_last : Format::channels_first;
}

// Whether the channels lie inside of the pixels, by PyTorch's rule.
bool strides_ascend(const py::array& x) {
  if (x.ndim() != 4 || x.size() == 0 || x.strides(1) == 0) return false;
  i64 least = 0;
  for (const int d : {1, 3, 2, 0}) {
    const i64 stride = i64(x.strides(d));
    if (stride < least || (d == 0 && least == i64(x.strides(1)))) return false;
    least = stride * i64(x.shape(d));
  }
  return true;
}

template <class T>
Images<T> images(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::array>(x)) {
    const py::array a = py::reinterpret_borrow<py::array>(x);
    if (format_of(a) == Format::channels_last && readable<T>(a)) return images_of<T>(a, Format::channels_last);
    if (strides_ascend(a) && readable<T>(a)) {
      py::array copy = empty_images<T>(op, Shape(a.shape(), a.shape() + 4), Format::channels_last);
      launch_copy(op, copy, a);
      return images_of<T>(copy, Format::channels_last);
    }
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
