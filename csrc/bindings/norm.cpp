#include "bindings/activation.h"
#include "bindings/images.h"
#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/needs.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

template <class T>
py::object wanted(const char* op, bool want, const Shape& shape) {
  return want ? py::object(empty<T>(op, shape)) : py::object(py::none());
}
template <class T>
T* data_of(py::object& maybe) {
  if (maybe.is_none()) return nullptr;
  py::array a = py::reinterpret_borrow<py::array>(maybe);
  return data<T>(a);
}

// (rows, n) of a layer_norm over the last `axes` axes.
struct Rows {
  i64 rows = 1, n = 1;
  Shape outer, normalized;
  Rows(const char* op, const Shape& shape, i64 axes) {
    if (axes < 1 || axes > i64(shape.size()))
      refuse(op, "axes", std::to_string(axes), "from 1 to the " + std::to_string(shape.size()) + " axes of x");
    for (i64 i = 0; i < i64(shape.size()); i++) {
      const bool inner = i >= i64(shape.size()) - axes;
      (inner ? n : rows) *= shape[size_t(i)];
      (inner ? normalized : outer).push_back(shape[size_t(i)]);
    }
  }
};

void want_eps(const char* op, double eps) {
  if (!(eps >= 0)) refuse(op, "eps", std::to_string(eps), "zero or more");
}

py::tuple layer_norm(py::handle x, py::handle weight, py::handle bias, double eps, i64 axes) {
  constexpr const char* op = "layer_norm";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>(op, "x", x);
    const Rows f(op, in.shape(), axes);
    const auto w = optional_input<T>(op, "weight", weight, f.normalized),
               b = optional_input<T>(op, "bias", bias, f.normalized);
    want_eps(op, eps);
    py::array y = empty<T>(op, in.shape()), mean = empty<T>(op, f.outer), rstd = empty<T>(op, f.outer);
    if (f.n == 0 && f.rows != 0) refuse(op, "x", describe(x), "something to normalise in each row");
    launch(Work(bytes(3.0 * sizeof(T) * double(in.size))), kernels<T>().layer_norm, data<T>(y), data<T>(mean),
           data<T>(rstd), in.data, pointer(w), pointer(b), f.rows, f.n, T(eps));
    return py::make_tuple(y, mean, rstd);
  });
}

py::tuple layer_norm_backward(py::handle dy, py::handle x, py::handle mean, py::handle rstd, py::handle weight,
                              i64 axes, py::handle needs) {
  constexpr const char* op = "layer_norm_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = input<T>(op, "dy", dy);
    const auto in = input<T>(op, "x", x, g.shape());
    const Rows f(op, g.shape(), axes);
    const auto m = input<T>(op, "mean", mean, f.outer), r = input<T>(op, "rstd", rstd, f.outer);
    const auto w = optional_input<T>(op, "weight", weight, f.normalized);
    const Needs need(op, needs);
    if (f.n == 0 && f.rows != 0) refuse(op, "x", describe(x), "something to normalise in each row");
    py::object dx = wanted<T>(op, need.dx, g.shape()), dweight = wanted<T>(op, need.dweight, f.normalized),
               dbias = wanted<T>(op, need.dbias, f.normalized);
    const Scratch<T> partials(need.dweight || need.dbias ? kernels<T>().layer_norm_backward_partials(f.rows, f.n) : 0);
    launch(Work(bytes(4.0 * sizeof(T) * double(g.size))), kernels<T>().layer_norm_backward, data_of<T>(dx),
           data_of<T>(dweight), data_of<T>(dbias), g.data, in.data, m.data, r.data, pointer(w), f.rows, f.n,
           static_cast<T*>(partials));
    return py::make_tuple(dx, dweight, dbias);
  });
}

// x as (batch, channels, space). Pixels of channels_last images are samples of a matrix.
struct Channels {
  i64 batch, channels, space = 1;
  Channels(const char* op, const char* arg, py::handle x, const Shape& shape, Format format) {
    if (shape.size() < 2) refuse(op, arg, describe(x), "two dimensions or more: (batch, channels, ...)");
    batch = shape[0];
    channels = shape[1];
    for (size_t i = 2; i < shape.size(); i++) space *= shape[i];
    if (format == Format::channels_last && channels > 1) batch *= space, space = 1;
  }
};

// Images as they lie, other arrays in C order.
template <class T>
Images<T> batch(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::array>(x) && py::reinterpret_borrow<py::array>(x).ndim() == 4) return images<T>(op, arg, x);
  return {input<T>(op, arg, x), Format::channels_first};
}
template <class T>
Input<T> batch_like(const char* op, const char* arg, py::handle x, const Images<T>& other) {
  return other.ndim == 4 ? images<T>(op, arg, x, other.shape(), other.format) : input<T>(op, arg, x, other.shape());
}
template <class T>
py::array empty_batch(const char* op, const Images<T>& like) {
  return like.ndim == 4 ? empty_images<T>(op, like.shape(), like.format) : empty<T>(op, like.shape());
}

py::tuple batch_norm(py::handle x, py::handle weight, py::handle bias, py::handle running_mean, py::handle running_var,
                     bool training, double momentum, double eps, py::handle residual, py::handle activation) {
  constexpr const char* op = "batch_norm";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = batch<T>(op, "x", x);
    const Channels f(op, "x", x, in.shape(), in.format);
    const auto w = optional_input<T>(op, "weight", weight, Shape{f.channels}),
               b = optional_input<T>(op, "bias", bias, Shape{f.channels});
    Input<T> r{};
    if (!residual.is_none()) r = batch_like<T>(op, "residual", residual, in);
    const Activation act = activation_named(op, activation);
    want_eps(op, eps);
    const i64 m = f.batch * f.space;
    if (training && f.channels && m < 2) refuse(op, "x", describe(x), "more than one value per channel when training");
    // Training writes them in place, evaluation only reads them.
    const auto running = [&](const char* arg, py::handle r) -> std::pair<py::array, T*> {
      if (r.is_none()) {
        if (!training) refuse_type(op, arg, "None", "an array when not training");
        return {py::array(), nullptr};
      }
      const auto read = input<T>(op, arg, r, Shape{f.channels});
      return training ? std::pair(read.array, inout<T>(op, arg, r).data)
                      : std::pair(read.array, const_cast<T*>(read.data));
    };
    const auto mean_in = running("running_mean", running_mean), var_in = running("running_var", running_var);
    if (training && mean_in.second && mean_in.second == var_in.second)
      refuse(op, "running_mean and running_var are the same memory");
    py::array y = empty_batch<T>(op, in), mean = empty<T>(op, Shape{f.channels}),
              rstd = empty<T>(op, Shape{f.channels});
    const Scratch<T> partials(kernels<T>().batch_norm_partials(f.batch, f.channels, f.space));
    launch_with(OnInterrupt::finish, Work(bytes(3.0 * sizeof(T) * double(in.size))), kernels<T>().batch_norm,
                data<T>(y), data<T>(mean), data<T>(rstd), mean_in.second, var_in.second, in.data, pointer(w),
                pointer(b), r.data, f.batch, f.channels, f.space, training, T(momentum), T(eps), act,
                static_cast<T*>(partials));
    return py::make_tuple(y, mean, rstd);
  });
}

py::tuple batch_norm_backward(py::handle dy, py::handle x, py::handle mean, py::handle rstd, py::handle weight,
                              bool training, py::handle needs, py::handle bias, py::handle activation) {
  constexpr const char* op = "batch_norm_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto given = py::reinterpret_borrow<py::array>(dy);
    const Shape shape(given.shape(), given.shape() + given.ndim());
    const auto in = batch<T>(op, "x", x);
    if (in.shape() != shape) refuse(op, "x", describe(x), "shape " + str(shape));
    const auto g = batch_like<T>(op, "dy", dy, in);
    const Channels f(op, "dy", dy, shape, in.format);
    const auto m = input<T>(op, "mean", mean, Shape{f.channels}), r = input<T>(op, "rstd", rstd, Shape{f.channels});
    const auto w = optional_input<T>(op, "weight", weight, Shape{f.channels}),
               b = optional_input<T>(op, "bias", bias, Shape{f.channels});
    const Needs need(op, needs);
    const Activation act = activation_named(op, activation);
    if (act != Activation::none && act != Activation::relu)
      refuse(op, "activation", py::repr(activation), "'none' or 'relu'");
    py::object dx = need.dx ? py::object(empty_batch<T>(op, in)) : py::object(py::none()),
               dweight = wanted<T>(op, need.dweight, Shape{f.channels}),
               dbias = wanted<T>(op, need.dbias, Shape{f.channels});
    const Scratch<T> partials(kernels<T>().batch_norm_backward_partials(f.batch, f.channels, f.space));
    launch(Work(bytes(5.0 * sizeof(T) * double(g.size))), kernels<T>().batch_norm_backward, data_of<T>(dx),
           data_of<T>(dweight), data_of<T>(dbias), g.data, in.data, m.data, r.data, pointer(w), pointer(b), f.batch,
           f.channels, f.space, training, act, static_cast<T*>(partials));
    return py::make_tuple(dx, dweight, dbias);
  });
}

void increment_by_one(Team&, i64* counter) { ++*counter; }

// A count of batches, in memory so that a recorded step counts on.
void increment(py::handle counter) {
  const auto c = inout<i64>("increment", "counter", counter);
  if (c.size != 1) refuse("increment", "counter", describe(counter), "a single int64");
  launch_with(OnInterrupt::finish, on_one_thread(0), increment_by_one, c.data);
}

}  // namespace

BINDINGS(norm) {
  define(m, "increment", increment, py::arg("counter"));
  name_function(reinterpret_cast<const void*>(increment_by_one), "increment");
  const py::arg_v weight = py::arg("weight") = py::none(), bias = py::arg("bias") = py::none(),
                  eps = py::arg("eps") = 1e-5, needs = py::arg("needs") = py::make_tuple(true, true, true);
  define(m, "layer_norm", layer_norm, py::arg("x"), weight, bias, eps, py::arg("axes") = 1);
  define(m, "layer_norm_backward", layer_norm_backward, py::arg("dy"), py::arg("x"), py::arg("mean"), py::arg("rstd"),
         weight, py::arg("axes") = 1, needs);
  define(m, "batch_norm", batch_norm, py::arg("x"), weight, bias, py::arg("running_mean") = py::none(),
         py::arg("running_var") = py::none(), py::arg("training") = true, py::arg("momentum") = 0.1, eps,
         py::arg("residual") = py::none(), py::arg("activation") = "none");
  define(m, "batch_norm_backward", batch_norm_backward, py::arg("dy"), py::arg("x"), py::arg("mean"), py::arg("rstd"),
         weight, py::arg("training") = true, needs, bias, py::arg("activation") = "none");
}

}  // namespace chainrule
