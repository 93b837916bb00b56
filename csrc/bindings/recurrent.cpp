#include <algorithm>

#include "bindings/arrays.h"
#include "bindings/check.h"
#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// hidden of a recurrent weight (gates hidden, hidden).
template <class T>
i64 hidden_of(const char* op, const Input<T>& w, py::handle weight, i64 gates) {
  const i64 hidden = w.shape(1);
  if (hidden == 0 || w.shape(0) != gates * hidden)
    refuse(op, "weight_hh", describe(weight),
           "shape (" + std::to_string(gates) + " hidden, hidden) with hidden 1 or more");
  return hidden;
}

template <class T>
Input<T> optional(const char* op, const char* arg, py::handle x, const Shape& shape) {
  return x.is_none() ? Input<T>{} : input<T>(op, arg, x, shape);
}

Work work_of(const Recurrence& r, double gates) {
  constexpr double kFunctions = 5;  // ns for a hidden unit's gates, beside the products
  const double units = double(r.steps) * double(r.batch) * double(r.hidden);
  return Work(units * (flops(2 * gates * double(r.hidden)) + kFunctions));
}

template <class T>
py::tuple forward(py::handle x_in, py::handle weight, py::handle h0_in, py::handle c0_in, bool reverse,
                  py::handle index_in) {
  constexpr const char* op = "lstm";
  const bool looked_up = !index_in.is_none();
  const auto x = input<T>(op, "x", x_in, looked_up ? 2 : 3);
  const auto w = input<T>(op, "weight_hh", weight, 2);
  Input<i64> index{};
  if (looked_up) {
    index = indices(op, "index", index_in);
    if (index.ndim != 2) refuse(op, "index", describe(index_in), "2 dimensions");
    check_rows(op, index, x.shape(0));
  }
  const Shape first = looked_up ? index.shape() : x.shape();
  const Recurrence r{first[0], first[1], hidden_of(op, w, weight, 4), reverse};
  if (x.shape(-1) != 4 * r.hidden)
    refuse(op, "x", describe(x_in),
           (looked_up ? "shape (rows, " : "shape (steps, batch, ") + std::to_string(4 * r.hidden) +
               ") to fit weight_hh, " + describe(weight));
  const auto h0 = input<T>(op, "h0", h0_in, Shape{r.batch, r.hidden});
  const auto c0 = input<T>(op, "c0", c0_in, Shape{r.batch, r.hidden});
  const Shape shape{r.steps, r.batch, r.hidden};
  py::array out = empty<T>(op, shape), cells = empty<T>(op, shape),
            gates = empty<T>(op, {r.steps, r.batch, 4 * r.hidden});
  if (out.size() > 0) {
    const Work work = work_of(r, 4);
    const Scratch<T> scratch(kernels<T>().lstm_scratch(r, work.threads));
    launch(work, kernels<T>().lstm, data<T>(out), data<T>(cells), data<T>(gates), x.data, index.data, w.data, h0.data,
           c0.data, r, static_cast<T*>(scratch));
  }
  return py::make_tuple(out, cells, gates);
}

template <class T>
py::tuple backward(py::handle dout_in, py::handle gates_in, py::handle cells_in, py::handle c0_in, py::handle weight,
                   py::handle dhn_in, py::handle dcn_in, bool reverse) {
  constexpr const char* op = "lstm_backward";
  const auto gates = input<T>(op, "gates", gates_in, 3);
  const auto w = input<T>(op, "weight_hh", weight, 2);
  const Recurrence r{gates.shape(0), gates.shape(1), hidden_of(op, w, weight, 4), reverse};
  if (gates.shape(2) != 4 * r.hidden)
    refuse(op, "gates", describe(gates_in),
           "shape (steps, batch, " + std::to_string(4 * r.hidden) + ") to fit weight_hh, " + describe(weight));
  const Shape every{r.steps, r.batch, r.hidden}, one{r.batch, r.hidden};
  const auto cells = input<T>(op, "cells", cells_in, every);
  const auto c0 = input<T>(op, "c0", c0_in, one);
  const auto dout = optional<T>(op, "dout", dout_in, every);
  const auto dhn = optional<T>(op, "dhn", dhn_in, one), dcn = optional<T>(op, "dcn", dcn_in, one);
  py::array dx = empty<T>(op, gates.shape()), dh0 = empty<T>(op, one), dc0 = empty<T>(op, one);
  const auto pass_on = [&](py::array& to, const Input<T>& from) {  // without steps the state goes through
    if (from.data)
      std::copy(from.data, from.data + from.size, data<T>(to));
    else
      std::fill(data<T>(to), data<T>(to) + to.size(), T(0));
  };
  if (r.steps == 0) {
    pass_on(dh0, dhn);
    pass_on(dc0, dcn);
  } else if (dh0.size() > 0) {
    const Work work = work_of(r, 4);
    const Scratch<T> scratch(kernels<T>().lstm_backward_scratch(r, work.threads));
    launch(work, kernels<T>().lstm_backward, data<T>(dx), data<T>(dh0), data<T>(dc0), dout.data, dhn.data, dcn.data,
           gates.data, cells.data, c0.data, w.data, r, static_cast<T*>(scratch));
  }
  return py::make_tuple(dx, dh0, dc0);
}

py::tuple lstm(py::handle x, py::handle weight_hh, py::handle h0, py::handle c0, bool reverse, py::handle index) {
  return by_dtype("lstm", "x", x,
                  [&](auto zero) { return forward<decltype(zero)>(x, weight_hh, h0, c0, reverse, index); });
}
py::tuple lstm_backward(py::handle dout, py::handle gates, py::handle cells, py::handle c0, py::handle weight_hh,
                        py::handle dhn, py::handle dcn, bool reverse) {
  return by_dtype("lstm_backward", "gates", gates, [&](auto zero) {
    return backward<decltype(zero)>(dout, gates, cells, c0, weight_hh, dhn, dcn, reverse);
  });
}

}  // namespace

BINDINGS(recurrent) {
  define(m, "lstm", lstm, py::arg("x"), py::arg("weight_hh"), py::arg("h0"), py::arg("c0"), py::arg("reverse") = false,
         py::arg("index") = py::none());
  define(m, "lstm_backward", lstm_backward, py::arg("dout"), py::arg("gates"), py::arg("cells"), py::arg("c0"),
         py::arg("weight_hh"), py::arg("dhn") = py::none(), py::arg("dcn") = py::none(), py::arg("reverse") = false);
}

}  // namespace chainrule
