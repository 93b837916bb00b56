#include "bindings/window.h"

namespace chainrule {

std::string str(Pair p) { return "(" + std::to_string(p.h) + ", " + std::to_string(p.w) + ")"; }

namespace {

// False where x is no integer; values beyond i64 become the largest one, which every caller refuses.
bool as_integer(py::handle x, i64* value) {
  PyObject* index = PyNumber_Index(x.ptr());
  if (!index) {
    PyErr_Clear();
    return false;
  }
  int overflow = 0;
  *value = PyLong_AsLongLongAndOverflow(index, &overflow);
  if (overflow) *value = overflow > 0 ? INT64_MAX : INT64_MIN;
  Py_DECREF(index);
  return true;
}

bool is_list(py::handle x) { return py::isinstance<py::tuple>(x) || py::isinstance<py::list>(x); }

std::string shown(py::handle x) { return std::string(py::str(py::repr(x))).substr(0, 80); }

}  // namespace

Pair pair(const char* op, const char* arg, py::handle x, i64 least) {
  constexpr i64 kLimit = i64(1) << 31;
  const char* const want = least > 0 ? "a positive integer under 2^31, or a pair of them"
                                     : "a non-negative integer under 2^31, or a pair of them";
  Pair p{};
  if (is_list(x)) {
    const auto items = py::reinterpret_borrow<py::sequence>(x);
    if (items.size() != 1 && items.size() != 2) refuse(op, arg, shown(x), want);
    if (!as_integer(items[0], &p.h) || !as_integer(items[items.size() - 1], &p.w)) refuse_type(op, arg, shown(x), want);
  } else {
    if (!as_integer(x, &p.h)) refuse_type(op, arg, shown(x), want);
    p.w = p.h;
  }
  if (p.h < least || p.w < least || p.h >= kLimit || p.w >= kLimit) refuse(op, arg, shown(x), want);
  return p;
}

Shape four_sizes(const char* op, const char* arg, py::handle x) {
  const char* want = "four sizes (batch, channels, height, width)";
  if (!is_list(x)) refuse_type(op, arg, shown(x), want);
  Shape shape;
  for (py::handle item : x) {
    i64 size;
    if (!as_integer(item, &size)) refuse_type(op, arg, shown(x), want);
    shape.push_back(size);
  }
  if (shape.size() != 4) refuse(op, arg, shown(x), want);
  checked_size(op, shape);
  return shape;
}

}  // namespace chainrule
