#include "bindings/arrays.h"

#include <cstdint>
#include <stdexcept>

#include "runtime/pool.h"

namespace chainrule {

void refuse(const char* op, const char* arg, const std::string& got, const std::string& want) {
  throw py::value_error(std::string(op) + ": argument '" + arg + "' is " + got + ", want " + want);
}
void refuse_type(const char* op, const char* arg, const std::string& got, const std::string& want) {
  throw py::type_error(std::string(op) + ": argument '" + arg + "' is " + got + ", want " + want);
}
void refuse(const char* op, const std::string& why) { throw py::value_error(std::string(op) + ": " + why); }

std::string str(const Shape& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); i++) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

std::string describe(py::handle x) {
  if (!py::isinstance<py::array>(x)) return "a " + std::string(py::str(py::type::of(x).attr("__name__")));
  const auto a = py::reinterpret_borrow<py::array>(x);
  return "a " + std::string(py::str(a.dtype())) + " array of shape " + str(shape_of(a));
}

Shape sizes(const char* op, const char* arg, py::handle x) {
  if (!PySequence_Check(x.ptr())) refuse_type(op, arg, describe(x), "a tuple of integers");
  Shape shape;
  for (py::handle n : py::reinterpret_borrow<py::sequence>(x)) {
    const py::object whole = py::reinterpret_steal<py::object>(PyNumber_Index(n.ptr()));
    if (!whole) {
      PyErr_Clear();
      refuse_type(op, arg, std::string(py::repr(x)), "a tuple of integers");
    }
    const i64 size = PyLong_AsLongLong(whole.ptr());
    if (size == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      refuse(op, arg, std::string(py::repr(x)), "sizes that memory can hold");
    }
    shape.push_back(size);
  }
  return shape;
}

i64 checked_size(const char* op, const Shape& shape, i64 item) {
  i64 bytes = item;
  bool zero = false;
  for (i64 n : shape) {
    if (n < 0) refuse(op, "the size " + std::to_string(n) + " in shape " + str(shape) + " is negative");
    zero = zero || n == 0;
    if (!zero && __builtin_mul_overflow(bytes, n, &bytes))
      refuse(op, "the shape " + str(shape) + " has more elements than memory can hold");
  }
  return zero ? 0 : bytes / item;
}

namespace {

template <class T>
constexpr const char* kName = sizeof(T) == 4 ? "float32" : "float64";
template <>
constexpr const char* kName<i32> = "int32";
template <>
constexpr const char* kName<i64> = "int64";
template <>
constexpr const char* kName<bool> = "bool";
template <>
constexpr const char* kName<uint8_t> = "uint8";

// NumPy's own dtype of T in native order, which nearly every array has: told by its address.
template <class T>
const PyObject* native_dtype() {
  static const PyObject* const dtype = py::dtype::of<T>().release().ptr();
  return dtype;
}
const PyObject* dtype_at(const py::array& a) { return py::detail::array_proxy(a.ptr())->descr; }

py::array as_array(const char* op, const char* arg, py::handle x) {
  if (!py::isinstance<py::array>(x)) refuse_type(op, arg, describe(x), "a NumPy array");
  return py::reinterpret_borrow<py::array>(x);
}

template <class T>
void want_dtype(const char* op, const char* arg, const py::array& a) {
  if (!has_dtype<T>(a)) refuse_type(op, arg, describe(a), std::string("dtype ") + kName<T>);
}

}  // namespace

bool is_native(const py::array& a) {
  const char order = py::detail::array_descriptor_proxy(dtype_at(a))->byteorder;
  return order == '=' || order == '|';
}
bool aligned_native(const py::array& a) {
  return (a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) && is_native(a);
}
bool usable(const py::array& a) { return (a.flags() & py::array::c_style) && aligned_native(a); }

template <class T>
bool has_dtype(const py::array& a) {
  if (dtype_at(a) == native_dtype<T>()) return true;
  const py::dtype want = py::dtype::of<T>(), got = a.dtype();
  return got.kind() == want.kind() && got.itemsize() == want.itemsize();
}

bool is_float32(const char* op, const char* arg, py::handle x) {
  const py::array a = as_array(op, arg, x);
  const bool single = has_dtype<float>(a);
  if (!single && !has_dtype<double>(a)) refuse_type(op, arg, describe(x), "dtype float32 or float64");
  return single;
}

Dtype dtype_of(const char* op, const char* arg, py::handle x) {
  const py::dtype d = as_array(op, arg, x).dtype();
  const char kind = d.kind();
  const i64 item = i64(d.itemsize());
  if (kind == 'f' && item == 4) return Dtype::float32;
  if (kind == 'f' && item == 8) return Dtype::float64;
  if (kind == 'i' && item == 4) return Dtype::int32;
  if (kind == 'i' && item == 8) return Dtype::int64;
  if (kind == 'u' && item == 1) return Dtype::uint8;
  if (kind == 'b') return Dtype::boolean;
  refuse_type(op, arg, describe(x), "dtype float32, float64, int32, int64, uint8 or bool");
}

py::dtype numpy_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return py::dtype::of<float>();
    case Dtype::float64:
      return py::dtype::of<double>();
    case Dtype::int32:
      return py::dtype::of<i32>();
    case Dtype::int64:
      return py::dtype::of<i64>();
    case Dtype::uint8:
      return py::dtype::of<uint8_t>();
    case Dtype::boolean:
      break;
  }
  return py::dtype::of<bool>();
}

template <class T>
Input<T> input(const char* op, const char* arg, py::handle x, int ndim) {
  py::array a = as_array(op, arg, x);
  want_dtype<T>(op, arg, a);
  if (ndim >= 0 && a.ndim() != ndim) refuse(op, arg, describe(a), std::to_string(ndim) + " dimensions");
  return input_of<T>(usable(a) ? a : contiguous(op, a));
}

template <class T>
Input<T> input(const char* op, const char* arg, py::handle x, const Shape& shape) {
  Input<T> in = input<T>(op, arg, x);
  if (in.shape() != shape) refuse(op, arg, describe(x), "shape " + str(shape));
  return in;
}

template <class T>
InOut<T> inout(const char* op, const char* arg, py::handle x) {
  py::array a = as_array(op, arg, x);
  want_dtype<T>(op, arg, a);
  if (!a.writeable()) refuse(op, arg, describe(a) + ", read-only", "a writeable array");
  if (!usable(a))
    refuse(op, arg, describe(a) + ", strided, misaligned or byte-swapped",
           "a C-contiguous, aligned array of native byte order");
  return {a, static_cast<T*>(a.mutable_data()), i64(a.size())};
}

py::array empty(const char* op, const py::dtype& dtype, const Shape& shape) {
  const i64 item = i64(dtype.itemsize());
  checked_size(op, shape, item > 0 ? item : 1);
  return fresh_array(dtype, shape);
}

template <class T>
py::array empty(const char* op, const Shape& shape) {
  return empty(op, py::dtype::of<T>(), shape);
}

template <class T>
Scratch<T>::Scratch(i64 count) : arena_(Arena::current()) {
  const size_t bytes = size_t(count) * sizeof(T);
  data_ = static_cast<T*>(arena_ ? arena_->allocate(bytes) : pool_allocate(bytes));
}
template <class T>
Scratch<T>::~Scratch() {
  arena_ ? arena_->release(data_) : pool_release(data_);
}

#define INSTANCE(T)                                                               \
  template bool has_dtype<T>(const py::array&);                                   \
  template Input<T> input<T>(const char*, const char*, py::handle, int);          \
  template Input<T> input<T>(const char*, const char*, py::handle, const Shape&); \
  template InOut<T> inout<T>(const char*, const char*, py::handle);               \
  template py::array empty<T>(const char*, const Shape&);                         \
  template class Scratch<T>;
INSTANCE(float)
INSTANCE(double)
INSTANCE(i32)
INSTANCE(i64)
INSTANCE(uint8_t)
INSTANCE(bool)

}  // namespace chainrule
