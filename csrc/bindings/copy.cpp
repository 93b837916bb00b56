// Copies and fills of any dtype, by item size; what input() makes of a view; arrays from the pool.
#include <algorithm>
#include <cstring>

#include "bindings/broadcast.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// An axis of a copy: how many, and the bytes between two of them in y and in x.
struct Axis {
  i64 size, y, x;
};

// The walk of a copy into y, as copy.cpp wants it.
struct Plan {
  char* y;
  const char* x;
  i64 item;
  Strided space;
};

// x may have fewer dimensions than y, and sizes of 1 where y is wider; without one (fill) its strides are zero.
Plan plan(const char* op, py::array& y, const py::array* x) {
  const int ndim = int(y.ndim()), extra = x ? ndim - int(x->ndim()) : 0;
  Plan p;
  p.item = i64(y.itemsize());
  p.y = static_cast<char*>(const_cast<void*>(y.data()));
  p.x = x ? static_cast<const char*>(x->data()) : nullptr;
  std::vector<Axis> axes;
  i64 bits = i64(reinterpret_cast<uintptr_t>(p.y) | reinterpret_cast<uintptr_t>(p.x));
  for (int d = 0; d < ndim; d++) {
    Axis a = {i64(y.shape(d)), i64(y.strides(d)), 0};
    if (x && d >= extra && x->shape(d - extra) != 1) a.x = i64(x->strides(d - extra));
    if (a.size == 1) continue;
    if (a.y < 0) {  // from its other end
      p.y += (a.size - 1) * a.y, p.x += (a.size - 1) * a.x;
      a.y = -a.y, a.x = -a.x;
    }
    bits |= a.y | a.x;
    axes.push_back(a);
  }
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.y > b.y; });
  if (bits % p.item != 0) {  // misaligned: byte by byte
    axes.push_back({p.item, 1, x ? 1 : 0});
    p.item = 1;
  }
  Strided& s = p.space;
  s.dims = 0;
  for (const Axis& a : axes) {
    int d = s.dims - 1;
    if (d < 0 || s.stride[0][d] != a.size * a.y || s.stride[1][d] != a.size * a.x) {
      if (s.dims == kMaxDims) refuse(op, "a view of shape " + str(shape_of(y)) + " needs more than 16 dimensions");
      s.shape[d = s.dims++] = 1;
    }
    s.shape[d] *= a.size;
    s.stride[0][d] = a.y, s.stride[1][d] = a.x;
  }
  if (s.dims == 0) s.dims = 1, s.shape[0] = 1, s.stride[0][0] = s.stride[1][0] = p.item;  // a single element
  return p;
}

}  // namespace

void launch_copy(const char* op, py::array& y, const py::array& x) {
  if (y.size() == 0) return;
  const Plan p = plan(op, y, &x);
  launch(Work(bytes(2.0 * double(y.nbytes()))), kernels<float>().copy, static_cast<void*>(p.y),
         static_cast<const void*>(p.x), p.space, p.item);
}

namespace {

// The bytes between an array's first and behind its last, for arrays that hold some.
std::pair<const char*, const char*> extent(const py::array& a) {
  const char *first = static_cast<const char*>(a.data()), *end = first + a.itemsize();
  for (int d = 0; d < a.ndim(); d++) (a.strides(d) < 0 ? first : end) += (a.shape(d) - 1) * a.strides(d);
  return {first, end};
}

// A view that a copy may write: writeable, native, each element in memory of its own (as far as strides tell).
py::array destination(const char* op, py::handle out) {
  py::array y = numeric(op, "out", out);
  if (!y.writeable()) refuse(op, "out", describe(y) + ", read-only", "a writeable array");
  if (!is_native(y)) refuse(op, "out", describe(y) + ", byte-swapped", "an array of native byte order");
  for (int d = 0; d < y.ndim(); d++)
    if (y.strides(d) == 0 && y.shape(d) > 1 && y.size() > 0)
      refuse(op, "out", describe(y) + ", repeating memory", "an array whose elements don't share memory");
  return y;
}

py::array copy(py::handle from, py::handle out) {
  const char* op = "copy";
  py::array x = numeric(op, "x", from);
  if (out.is_none()) return contiguous(op, x);
  py::array y = destination(op, out);
  if (!y.dtype().is(x.dtype()) && !y.dtype().equal(x.dtype()))
    refuse_type(op, "x", describe(x), "the dtype of out, " + std::string(py::str(y.dtype())));
  const int extra = int(y.ndim() - x.ndim());
  bool fits = extra >= 0;
  for (int d = 0; fits && d < x.ndim(); d++) fits = x.shape(d) == 1 || x.shape(d) == y.shape(d + extra);
  if (!fits) refuse(op, "x", describe(x), "a shape that broadcasts to out's " + str(shape_of(y)));
  if (!is_native(x) || may_overlap(x, y)) x = contiguous(op, x);
  launch_copy(op, y, x);
  return y;
}

// The value as the first bytes of a word. Floats and ints for the common dtypes directly: a tiny fill costs a call.
u64 bits_of(py::handle value, const py::dtype& dtype) {
  u64 bits = 0;
  const auto take = [&](auto number) { std::memcpy(&bits, &number, sizeof number); };
  const bool exact = PyFloat_CheckExact(value.ptr()) || PyLong_CheckExact(value.ptr());
  if (exact && dtype.kind() == 'f' && dtype.itemsize() >= 4) {
    const double number = PyFloat_AsDouble(value.ptr());
    if (number == -1 && PyErr_Occurred()) throw py::error_already_set();
    dtype.itemsize() == 4 ? take(float(number)) : take(number);
    return bits;
  }
  if (Recording::active() && py::isinstance<py::array>(value))
    throw RecordingError("a compiled step can't fill a tensor with a value that it computed");
  static const py::handle asarray = py::object(py::module_::import("numpy").attr("asarray")).release();
  const py::array one = py::array(asarray(value)).attr("astype")(dtype);
  std::memcpy(&bits, one.data(), size_t(one.itemsize()));
  return bits;
}

py::array fill(py::handle out, py::handle value) {
  const char* op = "fill";
  py::array y = destination(op, out);
  if (!is_number(value)) refuse_type(op, "value", describe(value), "a number");
  const u64 bits = bits_of(value, y.dtype());
  if (y.size() == 0) return y;
  const Plan p = plan(op, y, nullptr);
  launch(Work(bytes(double(y.nbytes()))), kernels<float>().fill, static_cast<void*>(p.y), bits, p.space, p.item);
  return y;
}

}  // namespace

py::array numeric(const char* op, const char* arg, py::handle x) {
  if (!py::isinstance<py::array>(x)) refuse_type(op, arg, describe(x), "a NumPy array");
  auto a = py::reinterpret_borrow<py::array>(x);
  const char kind = a.dtype().kind();
  if ((kind != 'f' && kind != 'i' && kind != 'u' && kind != 'b') || a.itemsize() > 8)
    refuse_type(op, arg, describe(x), "floating, integer or bool elements of at most 8 bytes");
  return a;
}

py::array movable(const char* op, const char* arg, py::handle x) {
  const py::array a = numeric(op, arg, x);
  return usable(a) ? a : contiguous(op, a);
}

bool may_overlap(const py::array& a, const py::array& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  const auto [first, end] = extent(a);
  const auto [start, stop] = extent(b);
  return first < stop && start < end;
}

py::array contiguous(const char* op, const py::array& x) {
  if (!is_native(x) || x.itemsize() > 8 || (x.itemsize() & (x.itemsize() - 1)) != 0 || x.itemsize() == 0) {
    static const py::handle array = py::object(py::module_::import("numpy").attr("array")).release();
    return py::array(array(x, x.dtype().attr("newbyteorder")("="), py::arg("order") = "C"));
  }
  py::array y = empty(op, x.dtype(), shape_of(x));
  launch_copy(op, y, x);
  return y;
}

BINDINGS(copy) {
  define(m, "copy", copy, py::arg("x"), py::arg("out") = py::none());
  define(m, "fill", fill, py::arg("out"), py::arg("value"));
  define(
      m, "empty",
      [](py::handle shape, const py::dtype& dtype) { return empty("empty", dtype, sizes("empty", "shape", shape)); },
      py::arg("shape"), py::arg("dtype"));
  define(
      m, "dense_strides",
      [](const py::array& x) {
        py::tuple strides(x.ndim());
        size_t d = 0;
        for (const i64 s : dense_strides(x)) strides[d++] = s;
        return strides;
      },
      py::arg("x"));
  define(
      m, "empty_like",
      [](py::handle x, const py::dtype& dtype) {
        return empty_like("empty_like", dtype, numeric("empty_like", "x", x));
      },
      py::arg("x"), py::arg("dtype"));
}

}  // namespace chainrule
