#include "bindings/activation.h"
#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/needs.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// A product's cost, and a floor for what it reads and writes.
template <class T>
Work product_work(double products, i64 m, i64 n, i64 k) {
  const double count = double(m) * double(n) * double(k);
  return Work(flops(2 * products * count) +
              bytes(sizeof(T) * (double(m) * double(n) + double(m) * double(k) + double(n) * double(k))));
}

Shape with_last(Shape shape, i64 last) {
  shape.back() = last;
  return shape;
}

// The number of rows of x as a matrix.
template <class T>
i64 rows_of(const char* op, const Input<T>& x) {
  return checked_size(op, Shape(x.array.shape(), x.array.shape() + x.ndim - 1), sizeof(T));
}

template <class T>
Input<T> with_rows(const char* op, const char* arg, py::handle x) {
  auto in = input<T>(op, arg, x);
  if (in.ndim == 0) refuse(op, arg, describe(x), "1 dimension or more");
  return in;
}

template <class T>
Input<T> weight_for(const char* op, py::handle weight, const Input<T>& x) {
  auto w = input<T>(op, "weight", weight, 2);
  if (w.shape(1) != x.shape(-1))
    refuse(op, "weight", describe(weight),
           "shape (out_features, " + std::to_string(x.shape(-1)) + ") to fit x, " + describe(x.array));
  return w;
}

py::object linear(py::handle x_in, py::handle weight, py::handle bias, py::handle activation, bool return_preactivation,
                  py::handle residual) {
  constexpr const char* op = "linear";
  return by_dtype(op, "x", x_in, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Activation act = activation_named(op, activation);
    const auto x = with_rows<T>(op, "x", x_in);
    const auto w = weight_for<T>(op, weight, x);
    const i64 m = rows_of(op, x), n = w.shape(0), k = w.shape(1);
    Input<T> b{};
    if (!bias.is_none()) b = input<T>(op, "bias", bias, Shape{n});
    Input<T> r{};
    if (!residual.is_none()) r = input<T>(op, "residual", residual, with_last(x.shape(), n));
    py::array y = empty<T>(op, with_last(x.shape(), n)), z = no_array();
    if (return_preactivation) z = empty<T>(op, with_last(x.shape(), n));
    if (y.size() > 0) {
      const Work work = product_work<T>(1, m, n, k);
      const Scratch<T> scratch(kernels<T>().linear_scratch(m, n, k, work.threads));
      launch(work, kernels<T>().linear, data<T>(y), return_preactivation ? data<T>(z) : nullptr, x.data, w.data, b.data,
             r.data, m, n, k, act, static_cast<T*>(scratch));
    }
    return return_preactivation ? py::object(py::make_tuple(y, z)) : py::object(y);
  });
}

// An array that a gradient is added to: no other argument's memory.
template <class T>
py::array sum_of(const char* arg, py::handle x, const Shape& shape, std::initializer_list<py::array> others) {
  constexpr const char* op = "linear_backward";
  const auto to = inout<T>(op, arg, x);
  if (Shape(to.array.shape(), to.array.shape() + to.array.ndim()) != shape)
    refuse(op, arg, describe(x), "the shape of the gradient that is added to it");
  for (const py::array& other : others)
    if (other && may_overlap(to.array, other)) refuse(op, arg, describe(x), "memory that no other argument uses");
  return to.array;
}

py::tuple linear_backward(py::handle dy_in, py::handle x_in, py::handle weight, py::handle activation,
                          py::handle saved_in, py::handle needs, py::handle into, py::handle input_activation,
                          py::handle input_saved) {
  constexpr const char* op = "linear_backward";
  return by_dtype(op, "dy", dy_in, [&](auto zero) {
    using T = decltype(zero);
    const Activation act = activation_named(op, activation);
    const auto x = with_rows<T>(op, "x", x_in);
    const auto w = weight_for<T>(op, weight, x);
    const i64 m = rows_of(op, x), n = w.shape(0), k = w.shape(1);
    const auto dy = input<T>(op, "dy", dy_in, with_last(x.shape(), n));
    const auto saved_by = [&](Activation f, py::handle name, const char* arg, py::handle given, const Shape& shape) {
      if (f == Activation::none) return Input<T>{};
      if (given.is_none())
        refuse(op, arg, "None", "what the forward pass of activation " + std::string(py::repr(name)) + " saved");
      return input<T>(op, arg, given, shape);
    };
    const auto saved = saved_by(act, activation, "saved", saved_in, dy.shape());
    const Activation input_act = activation_named(op, input_activation, "input_activation");
    const auto before = saved_by(input_act, input_activation, "input_saved", input_saved, x.shape());
    const auto [need_dx, need_dw, need_db] = Needs(op, needs);
    constexpr const char* pair = "a tuple of two arrays, or None in their place";
    if (!PyTuple_Check(into.ptr())) refuse_type(op, "into", py::repr(into), pair);
    if (PyTuple_GET_SIZE(into.ptr()) != 2) refuse(op, "into", py::repr(into), pair);
    const py::handle into_dw = PyTuple_GET_ITEM(into.ptr(), 0), into_db = PyTuple_GET_ITEM(into.ptr(), 1);
    py::array dx = no_array(), dw = no_array(), db = no_array();
    if (need_dx) dx = empty<T>(op, x.shape());
    const bool add_dw = need_dw && !into_dw.is_none(), add_db = need_db && !into_db.is_none();
    if (add_dw) dw = sum_of<T>("into[0]", into_dw, w.shape(), {dy.array, x.array, w.array, saved.array, before.array});
    if (add_db) db = sum_of<T>("into[1]", into_db, {n}, {dy.array, x.array, w.array, saved.array, before.array, dw});
    if (need_dw && !add_dw) dw = empty<T>(op, w.shape());
    if (need_db && !add_db) db = empty<T>(op, {n});
    const Work work = product_work<T>(double(need_dx) + double(need_dw), m, n, k);
    const Scratch<T> scratch(kernels<T>().linear_backward_scratch(m, n, k, act != Activation::none, work.threads));
    launch_with(add_dw || add_db ? OnInterrupt::finish : OnInterrupt::stop, work, kernels<T>().linear_backward,
                need_dx ? data<T>(dx) : nullptr, need_dw ? data<T>(dw) : nullptr, need_db ? data<T>(db) : nullptr,
                dy.data, x.data, w.data, saved.data, m, n, k, act, add_dw, add_db, before.data, input_act,
                static_cast<T*>(scratch));
    const auto given = [](bool need, const py::array& a) { return need ? py::object(a) : py::none(); };
    return py::make_tuple(given(need_dx, dx), given(need_dw, dw), given(need_db, db));
  });
}

}  // namespace

BINDINGS(linear) {
  define(m, "linear", linear, py::arg("x"), py::arg("weight"), py::arg("bias") = py::none(),
         py::arg("activation") = "none", py::arg("return_preactivation") = false, py::arg("residual") = py::none());
  define(m, "linear_backward", linear_backward, py::arg("dy"), py::arg("x"), py::arg("weight"),
         py::arg("activation") = "none", py::arg("saved") = py::none(),
         py::arg("needs") = py::make_tuple(true, true, true), py::arg("into") = py::make_tuple(py::none(), py::none()),
         py::arg("input_activation") = "none", py::arg("input_saved") = py::none());
}

}  // namespace chainrule
