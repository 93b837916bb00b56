// What every binding does before a kernel may trust its pointers: check, make contiguous, allocate from the pool.
// Errors name the op, the argument, what it got and what it wants; nothing has been written when they are raised.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "bindings/shape.h"
#include "runtime/arena.h"
#include "types.h"

namespace chainrule {

namespace py = pybind11;

// ValueError / TypeError: "conv2d: argument 'stride' is (0, 1), want positive integers".
[[noreturn]] void refuse(const char* op, const char* arg, const std::string& got, const std::string& want);
[[noreturn]] void refuse_type(const char* op, const char* arg, const std::string& got, const std::string& want);
// For conditions that involve more than one argument: "matmul: the inner sizes of a (2, 3) and b (4, 5) differ".
[[noreturn]] void refuse(const char* op, const std::string& why);

std::string str(const Shape& shape);  // "(2, 3)"
std::string describe(py::handle x);   // "float32 array of shape (2, 3)", "int", ...

inline Shape shape_of(const py::array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

// A tuple of sizes: Python or NumPy integers, no floats. Their range is checked by what allocates.
Shape sizes(const char* op, const char* arg, py::handle x);

// Product of the sizes; refuses one that overflows or exceeds what memory can hold.
i64 checked_size(const char* op, const Shape& shape, i64 item = 8);

// What a kernel asks of memory that it reads as it lies.
bool is_native(const py::array& a);       // of native byte order
bool aligned_native(const py::array& a);  // and aligned
bool usable(const py::array& a);          // and C-contiguous
template <class T>
bool has_dtype(const py::array& a);  // in either byte order
template <class T>
bool readable(const py::array& a) {
  return has_dtype<T>(a) && aligned_native(a);
}

// Nothing yet, where `py::array a;` would have NumPy make an empty array: that takes 0.1 us.
inline py::array no_array() { return py::reinterpret_steal<py::array>(py::handle()); }

// An input: C-contiguous, aligned, native T. A view that isn't gets copied; another dtype is refused.
template <class T>
struct Input {
  py::array array = no_array();
  const T* data = nullptr;
  i64 size = 0;
  int ndim = 0;
  i64 shape(int axis) const { return i64(array.shape(axis < 0 ? axis + ndim : axis)); }
  Shape shape() const { return Shape(array.shape(), array.shape() + ndim); }
};

// Of an array that is readable<T>() and lies as the kernel expects.
template <class T>
Input<T> input_of(const py::array& a) {
  return {a, static_cast<const T*>(a.data()), i64(a.size()), int(a.ndim())};
}

// ndim < 0 accepts any rank.
template <class T>
Input<T> input(const char* op, const char* arg, py::handle x, int ndim = -1);
template <class T>
Input<T> input(const char* op, const char* arg, py::handle x, const Shape& shape);  // refuses any other shape

// An array that the kernel writes in place: as Input, but a copy can't do: refused unless C-contiguous, aligned,
// native and writeable.
template <class T>
struct InOut {
  py::array array;
  T* data;
  i64 size;
};
template <class T>
InOut<T> inout(const char* op, const char* arg, py::handle x);

// A fresh uninitialised array from the pool; data(out) is its memory.
template <class T>
py::array empty(const char* op, const Shape& shape);
template <class T>
T* data(py::array& a) {
  return static_cast<T*>(const_cast<void*>(static_cast<const void*>(a.data())));
}

py::array empty(const char* op, const py::dtype& dtype, const Shape& shape);

// An array of numbers whose elements a kernel moves, whatever they mean: floating, integer or bool of at most 8 bytes.
py::array numeric(const char* op, const char* arg, py::handle x);
// The same C-contiguous, aligned and native: a view that isn't gets copied.
py::array movable(const char* op, const char* arg, py::handle x);
bool may_overlap(const py::array& a, const py::array& b);  // judged by their first and last bytes

// y = x, views of the same shape or x broadcast to y's.
void launch_copy(const char* op, py::array& y, const py::array& x);

// A fresh C-contiguous copy of any view, native and aligned, from the pool. dtype: floating, integer or bool.
py::array contiguous(const char* op, const py::array& x);

// A fresh uninitialised array: from the pool, or from the memory of the step that is being recorded. Dense; strides, in
// elements: in C order without them.
py::array fresh_array(const py::dtype& dtype, const Shape& shape, const Shape& strides = {});

// Scratch for one call, from the pool.
template <class T>
class Scratch {
 public:
  explicit Scratch(i64 count);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator T*() const { return data_; }

 private:
  Arena* arena_;
  T* data_;
};

bool is_float32(const char* op, const char* arg, py::handle x);  // false: float64; anything else is refused

// Which of the dtypes that kernels take beyond float32 and float64 x has; anything else is refused.
Dtype dtype_of(const char* op, const char* arg, py::handle x);
py::dtype numpy_dtype(Dtype dtype);

// f(T()) with T the dtype of x: float or double.
template <class F>
auto by_dtype(const char* op, const char* arg, py::handle x, F&& f) {
  return is_float32(op, arg, x) ? f(float()) : f(double());
}

}  // namespace chainrule
