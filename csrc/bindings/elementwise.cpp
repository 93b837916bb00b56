#include "bindings/broadcast.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// f(T()) with T the dtype of the first array; numbers take it over.
template <class F>
py::array by_first_array(const char* op, py::handle a, py::handle b, F&& f) {
  if (py::isinstance<py::array>(a) || !is_number(a)) return by_dtype(op, "a", a, f);
  if (!py::isinstance<py::array>(b)) refuse_type(op, "a", describe(a), "a NumPy array (or the other operand one)");
  return by_dtype(op, "b", b, f);
}

// f(table) gives the kernel; `cost` in nanoseconds per element beyond moving it.
template <class F>
py::array binary(const char* op, py::handle a, py::handle b, double cost, F&& kernel) {
  return by_first_array(op, a, b, [&](auto zero) {
    using T = decltype(zero);
    const View u = view<T>(op, "a", a), v = view<T>(op, "b", b);
    const Broadcast to = broadcast(op, {{"a", u}, {"b", v}});
    py::array y = result<T>(to);
    launch(Work(bytes(3.0 * sizeof(T) * double(to.size)) + cost * double(to.size)), kernel(kernels<T>()), data<T>(y),
           u.as<T>(), v.as<T>(), to.space);
    return y;
  });
}

py::array where(py::handle condition, py::handle a, py::handle b) {
  return by_first_array("where", a, b, [&](auto zero) {
    using T = decltype(zero);
    const View c = view<bool>("where", "condition", condition), u = view<T>("where", "a", a),
               v = view<T>("where", "b", b);
    const Broadcast to = broadcast("where", {{"condition", c}, {"a", u}, {"b", v}});
    py::array y = result<T>(to);
    launch(Work(bytes((3.0 * sizeof(T) + 1) * double(to.size))), kernels<T>().where, data<T>(y), c.as<bool>(),
           u.as<T>(), v.as<T>(), to.space);
    return y;
  });
}

// y += x, in y's memory.
void accumulate(py::handle y_in, py::handle x_in) {
  constexpr const char* op = "accumulate";
  by_dtype(op, "y", y_in, [&](auto zero) {
    using T = decltype(zero);
    py::array y = py::reinterpret_borrow<py::array>(y_in);
    if (!y.writeable()) refuse(op, "y", describe(y) + ", read-only", "a writeable array");
    if (!is_native(y)) refuse(op, "y", describe(y), "native byte order");
    const View to = view<T>(op, "y", y_in), x = view<T>(op, "x", x_in);
    const Broadcast both = broadcast(op, {{"y", to}, {"x", x}});
    if (both.shape != shape_of(y)) refuse(op, "x", describe(x_in), "a shape that broadcasts to y's");
    // A view whose elements don't lie together gets the sum by a copy.
    const bool direct =
        to.data == y.data() && (both.strides.empty() ? bool(y.flags() & py::array::c_style) : lies_in(y, both.strides));
    py::array sum = direct ? y : result<T>(both);
    launch_with(OnInterrupt::finish, Work(bytes(3.0 * sizeof(T) * double(both.size))), kernels<T>().add, data<T>(sum),
                to.as<T>(), x.as<T>(), both.space);
    if (!direct) launch_copy(op, y, sum);
  });
}

}  // namespace

BINDINGS(elementwise) {
  define(m, "accumulate", accumulate, py::arg("y"), py::arg("x"));
#define BINARY(name, cost)                                                              \
  define(                                                                               \
      m, #name,                                                                         \
      [](py::handle a, py::handle b) {                                                  \
        return binary(#name, a, b, cost, [](const auto& table) { return table.name; }); \
      },                                                                                \
      py::arg("a"), py::arg("b"));
  BINARY(add, 0)
  BINARY(div, 0)
  BINARY(maximum, 0)
  BINARY(minimum, 0)
  BINARY(mul, 0)
  BINARY(pow, 4)
  BINARY(sub, 0)
#undef BINARY
  define(m, "where", where, py::arg("condition"), py::arg("a"), py::arg("b"));
}

}  // namespace chainrule
