#include "bindings/check.h"
#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

py::array embedding(py::handle weight, py::handle index) {
  return by_dtype("embedding", "weight", weight, [&](auto zero) {
    using T = decltype(zero);
    const auto w = input<T>("embedding", "weight", weight, 2);
    const auto i = indices("embedding", "index", index);
    check_rows("embedding", i, w.shape(0));
    Shape out = i.shape();
    out.push_back(w.shape(1));
    py::array y = empty<T>("embedding", out);
    launch(Work(bytes(2.0 * sizeof(T) * double(i.size * w.shape(1)))), kernels<T>().embedding, data<T>(y), w.data,
           i.data, i.size, w.shape(0), w.shape(1));
    return y;
  });
}

py::array embedding_backward(py::handle dy, py::handle index, i64 rows, py::handle padding_idx) {
  constexpr const char* op = "embedding_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = input<T>(op, "dy", dy);
    const auto i = indices(op, "index", index);
    if (rows < 0) refuse(op, "rows", std::to_string(rows), "zero or more");
    check_rows(op, i, rows);
    Shape want = i.shape();
    want.push_back(g.ndim ? g.shape(-1) : 0);
    if (g.shape() != want)
      refuse(op, "dy", describe(dy), "the shape " + str(i.shape()) + " of index and one more axis");
    i64 padding = -1;
    if (!padding_idx.is_none()) {
      if (!PyLong_Check(padding_idx.ptr())) refuse_type(op, "padding_idx", describe(padding_idx), "an int or None");
      padding = py::cast<i64>(padding_idx);
      if (padding < -rows || padding >= rows)
        refuse(op, "padding_idx", std::to_string(padding), "a row of a table of " + std::to_string(rows));
      if (padding < 0) padding += rows;
    }
    const i64 width = want.back();
    py::array dweight = empty<T>(op, {rows, width});
    launch(Work(bytes(sizeof(T) * double((2 * i.size + rows) * width))), kernels<T>().embedding_backward,
           data<T>(dweight), g.data, i.data, i.size, rows, width, padding);
    return dweight;
  });
}

}  // namespace

BINDINGS(embedding) {
  define(m, "embedding", embedding, py::arg("weight"), py::arg("index"));
  define(m, "embedding_backward", embedding_backward, py::arg("dy"), py::arg("index"), py::arg("rows"),
         py::arg("padding_idx") = py::none());
}

}  // namespace chainrule
