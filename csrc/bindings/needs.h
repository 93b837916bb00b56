// The `needs` argument of backward bindings: which gradients are wanted.
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

struct Needs {
  bool dx, dweight, dbias;
  Needs(const char* op, py::handle needs) {
    constexpr const char* want = "a tuple of three bools";
    if (!PyTuple_Check(needs.ptr())) refuse_type(op, "needs", py::repr(needs), want);
    if (PyTuple_GET_SIZE(needs.ptr()) != 3) refuse(op, "needs", py::repr(needs), want);
    const auto item = [&](int i) { return py::cast<bool>(py::handle(PyTuple_GET_ITEM(needs.ptr(), i))); };
    dx = item(0), dweight = item(1), dbias = item(2);
  }
};

}  // namespace chainrule
