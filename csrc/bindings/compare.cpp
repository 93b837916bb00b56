// Comparisons and casts: kernels that take more dtypes than float32 and float64.
#include "bindings/broadcast.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// A number beside an array of integers must be one of that dtype: view() would round it.
template <class T>
void want_exact(const char* op, const char* arg, py::handle x, const char* dtype) {
  if (T(0.5) != 0 || py::isinstance<py::array>(x) || !is_number(x)) return;
  constexpr double kExact = 9007199254740992;  // 2^53
  const double value = PyFloat_AsDouble(x.ptr());
  if (value == -1 && PyErr_Occurred()) PyErr_Clear();
  if (!(value >= -kExact && value <= kExact) || double(T(i64(value))) != value)
    refuse(op, arg, std::string(py::str(x)), std::string("a number that ") + dtype + " holds");
}

using Kernel = decltype(Kernels<float>::eq);

// Numbers take the array's dtype.
py::array compare(const char* op, py::handle a, py::handle b, Kernel kernel) {
  const bool by_a = py::isinstance<py::array>(a) || !is_number(a);
  if (!by_a && !py::isinstance<py::array>(b))
    refuse_type(op, "a", describe(a), "a NumPy array (or the other operand one)");
  const Dtype dtype = by_a ? dtype_of(op, "a", a) : dtype_of(op, "b", b);
  return by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    want_exact<T>(op, "a", a, "b's dtype");
    want_exact<T>(op, "b", b, "a's dtype");
    const View u = view<T>(op, "a", a), v = view<T>(op, "b", b);
    const Broadcast to = broadcast(op, {{"a", u}, {"b", v}});
    py::array y = result<bool>(to);
    launch(Work(bytes((2.0 * sizeof(T) + 1) * double(to.size))), kernel, data<bool>(y), u.data, v.data, to.space,
           dtype);
    return y;
  });
}

py::array cast(py::handle x, const py::dtype& dtype) {
  const Dtype from = dtype_of("cast", "x", x);
  const Dtype to = dtype_of("cast", "dtype", py::array(dtype, Shape{0}));
  return by_dtype(from, [&](auto zero) {
    using T = decltype(zero);
    const View v = view<T>("cast", "x", x);
    const Broadcast space = broadcast("cast", {{"x", v}});
    py::array y = result(numpy_dtype(to), space);
    launch(Work(bytes(double(sizeof(T) + y.itemsize()) * double(space.size))), kernels<float>().cast,
           static_cast<void*>(y.mutable_data()), v.data, space.space, to, from);
    return y;
  });
}

}  // namespace

BINDINGS(compare) {
#define COMPARE(name)                                                                                                 \
  define(                                                                                                             \
      m, #name, [](py::handle a, py::handle b) { return compare(#name, a, b, kernels<float>().name); }, py::arg("a"), \
      py::arg("b"));
  COMPARE(eq)
  COMPARE(ge)
  COMPARE(gt)
  COMPARE(le)
  COMPARE(logical_and)
  COMPARE(logical_or)
  COMPARE(logical_xor)
  COMPARE(lt)
  COMPARE(ne)
#undef COMPARE
  define(m, "cast", cast, py::arg("x"), py::arg("dtype"));
}

}  // namespace chainrule
