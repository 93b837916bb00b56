#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// An input (batch, heads, rows, columns): as it lies in memory where its columns are contiguous, else copied.
template <class T>
struct Heads {
  py::array array = no_array();
  const T* data;
  HeadStrides strides;
  Shape shape;
};

template <class T>
bool readable_by_rows(const py::array& a) {
  if (a.ndim() != 4 || !readable<T>(a)) return false;
  for (int i = 0; i < 3; i++)
    if (a.strides(i) % i64(sizeof(T))) return false;
  return a.shape(3) <= 1 || a.strides(3) == i64(sizeof(T));
}

HeadStrides strides_of(const py::array& a) {
  const i64 item = a.itemsize();
  return {a.strides(0) / item, a.strides(1) / item, a.strides(2) / item};
}

template <class T>
Heads<T> heads(const char* op, const char* arg, py::handle x) {
  const bool fits = py::isinstance<py::array>(x) && readable_by_rows<T>(py::reinterpret_borrow<py::array>(x));
  const py::array a = fits ? py::reinterpret_borrow<py::array>(x) : input<T>(op, arg, x, 4).array;
  return {a, static_cast<const T*>(a.data()), strides_of(a), shape_of(a)};
}

// ... of a shape that query's, or key's, implies; -1 is any size.
template <class T>
Heads<T> heads(const char* op, const char* arg, py::handle x, const Shape& want) {
  const auto h = heads<T>(op, arg, x);
  std::string text;
  bool fits = true;
  for (int i = 0; i < 4; i++) {
    fits = fits && (want[i] < 0 || h.shape[i] == want[i]);
    text += (i ? ", " : "(") + (want[i] < 0 ? "any" : std::to_string(want[i]));
  }
  if (!fits) refuse(op, arg, describe(x), "shape " + text + ")");
  return h;
}

// A fresh array that lies in memory as `like` does: heads inside rows, as models make them by transposing, or outside.
template <class T>
py::array fresh(const char* op, const Shape& shape, const HeadStrides& like) {
  if (like.row <= like.head || shape[1] == 1) return empty<T>(op, shape);
  return empty<T>(op, {shape[0], shape[2], shape[1], shape[3]}).attr("transpose")(0, 2, 1, 3);
}

template <class T>
struct Inputs {
  Heads<T> q, k, v;
  Attention attention;
  T scale;
};

template <class T>
Inputs<T> inputs(const char* op, py::handle query, py::handle key, py::handle value, bool is_causal,
                 const std::optional<double>& scale) {
  const auto q = heads<T>(op, "query", query);
  const i64 batch = q.shape[0], count = q.shape[1], depth = q.shape[3];
  if (depth == 0) refuse(op, "query", describe(query), "1 column or more");
  const auto k = heads<T>(op, "key", key, {batch, count, -1, depth});
  const auto v = heads<T>(op, "value", value, {batch, count, k.shape[2], -1});
  if (v.shape[3] == 0) refuse(op, "value", describe(value), "1 column or more");
  Attention a{};
  a.batch = batch, a.heads = count, a.queries = q.shape[2], a.keys = k.shape[2];
  a.depth = depth, a.width = v.shape[3], a.causal = is_causal;
  a.q = q.strides, a.k = k.strides, a.v = v.strides;
  return {q, k, v, a, T(scale ? *scale : 1 / std::sqrt(double(depth)))};
}

// `products` of the queries x keys scores with depth or width, and `exps` ns for each of them.
Work work_of(const Attention& a, double products) {
  constexpr double kExp = 0.5;
  const double seen = a.causal ? 0.5 : 1;
  const double scores = seen * double(a.batch * a.heads) * double(a.queries) * double(a.keys);
  return Work(scores * (flops(products * double(a.depth + a.width)) + kExp) +
              bytes(16.0 * double(a.batch * a.heads) * double(a.queries + a.keys) * double(a.depth)));
}

template <class T>
py::tuple forward(py::handle query, py::handle key, py::handle value, bool is_causal,
                  const std::optional<double>& scale) {
  constexpr const char* op = "attention";
  auto in = inputs<T>(op, query, key, value, is_causal, scale);
  Attention& a = in.attention;
  py::array out = fresh<T>(op, {a.batch, a.heads, a.queries, a.width}, a.q);
  py::array lse = empty<T>(op, {a.batch, a.heads, a.queries});
  a.out = strides_of(out);
  if (lse.size() > 0) {
    const Work work = work_of(a, 2);
    const Scratch<T> scratch(kernels<T>().attention_scratch(a, work.threads));
    launch(work, kernels<T>().attention, data<T>(out), data<T>(lse), in.q.data, in.k.data, in.v.data, a, in.scale,
           static_cast<T*>(scratch));
  }
  return py::make_tuple(out, lse);
}

template <class T>
py::tuple backward(py::handle dout_in, py::handle query, py::handle key, py::handle value, py::handle out_in,
                   py::handle lse_in, bool is_causal, const std::optional<double>& scale) {
  constexpr const char* op = "attention_backward";
  auto in = inputs<T>(op, query, key, value, is_causal, scale);
  Attention& a = in.attention;
  const Shape result{a.batch, a.heads, a.queries, a.width};
  const auto dout = heads<T>(op, "dout", dout_in, result), out = heads<T>(op, "out", out_in, result);
  const auto lse = input<T>(op, "lse", lse_in, Shape{a.batch, a.heads, a.queries});
  py::array dq = fresh<T>(op, in.q.shape, a.q), dk = fresh<T>(op, in.k.shape, a.k), dv = fresh<T>(op, in.v.shape, a.v);
  a.dout = dout.strides, a.out = out.strides;
  a.dq = strides_of(dq), a.dk = strides_of(dk), a.dv = strides_of(dv);
  if (a.batch * a.heads > 0) {
    const Work work = work_of(a, 5);
    const Scratch<T> scratch(kernels<T>().attention_backward_scratch(a, work.threads));
    launch(work, kernels<T>().attention_backward, data<T>(dq), data<T>(dk), data<T>(dv), dout.data, in.q.data,
           in.k.data, in.v.data, out.data, lse.data, a, in.scale, static_cast<T*>(scratch));
  }
  return py::make_tuple(dq, dk, dv);
}

py::tuple attention(py::handle query, py::handle key, py::handle value, bool is_causal,
                    const std::optional<double>& scale) {
  return by_dtype("attention", "query", query,
                  [&](auto zero) { return forward<decltype(zero)>(query, key, value, is_causal, scale); });
}
py::tuple attention_backward(py::handle dout, py::handle query, py::handle key, py::handle value, py::handle out,
                             py::handle lse, bool is_causal, const std::optional<double>& scale) {
  return by_dtype("attention_backward", "query", query, [&](auto zero) {
    return backward<decltype(zero)>(dout, query, key, value, out, lse, is_causal, scale);
  });
}

}  // namespace

BINDINGS(attention) {
  define(m, "attention", attention, py::arg("query"), py::arg("key"), py::arg("value"), py::arg("is_causal") = false,
         py::arg("scale") = py::none());
  define(m, "attention_backward", attention_backward, py::arg("dout"), py::arg("query"), py::arg("key"),
         py::arg("value"), py::arg("out"), py::arg("lse"), py::arg("is_causal") = false, py::arg("scale") = py::none());
}

}  // namespace chainrule
