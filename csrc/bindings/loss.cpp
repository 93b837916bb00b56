#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/registry.h"

namespace chainrule {

Reduction reduction_named(const char* op, py::handle name) {
  if (!py::isinstance<py::str>(name)) refuse_type(op, "reduction", describe(name), "'none', 'mean' or 'sum'");
  const std::string s = py::cast<std::string>(name);
  if (s == "none") return Reduction::none;
  if (s == "mean") return Reduction::mean;
  if (s != "sum") refuse(op, "reduction", "'" + s + "'", "'none', 'mean' or 'sum'");
  return Reduction::sum;
}

Input<i64> indices(const char* op, const char* arg, py::handle x) {
  if (!py::isinstance<py::array>(x)) refuse_type(op, arg, describe(x), "a NumPy array");
  const py::dtype d = py::reinterpret_borrow<py::array>(x).dtype();
  if (d.kind() != 'i' || (d.itemsize() != 4 && d.itemsize() != 8))
    refuse_type(op, arg, describe(x), "dtype int64 or int32");
  if (d.itemsize() == 8) return input<i64>(op, arg, x);
  return input<i64>(op, arg, py::object(x.attr("astype")(py::dtype::of<i64>())));
}

namespace {

Shape loss_shape(Reduction reduction, const Shape& shape) { return reduction == Reduction::none ? shape : Shape{}; }

py::array mse_loss(py::handle x, py::handle target, py::handle reduction_name) {
  constexpr const char* op = "mse_loss";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>(op, "x", x);
    const auto t = input<T>(op, "target", target, in.shape());
    const Reduction reduction = reduction_named(op, reduction_name);
    py::array loss = empty<T>(op, loss_shape(reduction, in.shape()));
    const Scratch<T> partials(kernels<T>().loss_partials(in.size));
    launch(Work(bytes(2.0 * sizeof(T) * double(in.size))), kernels<T>().mse_loss, data<T>(loss), in.data, t.data,
           in.size, reduction, static_cast<T*>(partials));
    return loss;
  });
}

py::array mse_loss_backward(py::handle dloss, py::handle x, py::handle target, py::handle reduction_name) {
  constexpr const char* op = "mse_loss_backward";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>(op, "x", x);
    const auto t = input<T>(op, "target", target, in.shape());
    const Reduction reduction = reduction_named(op, reduction_name);
    const auto g = input<T>(op, "dloss", dloss, loss_shape(reduction, in.shape()));
    py::array dx = empty<T>(op, in.shape());
    launch(Work(bytes(3.0 * sizeof(T) * double(in.size))), kernels<T>().mse_loss_backward, data<T>(dx), g.data, in.data,
           t.data, in.size, reduction);
    return dx;
  });
}

py::array bce(py::handle x, py::handle target, py::handle weight, py::handle pos_weight, py::handle reduction_name) {
  constexpr const char* op = "binary_cross_entropy_with_logits";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>(op, "x", x);
    const auto t = input<T>(op, "target", target, in.shape());
    const auto w = optional_input<T>(op, "weight", weight, in.shape());
    const auto p = optional_input<T>(op, "pos_weight", pos_weight, in.shape());
    const Reduction reduction = reduction_named(op, reduction_name);
    py::array loss = empty<T>(op, loss_shape(reduction, in.shape()));
    const Scratch<T> partials(kernels<T>().loss_partials(in.size));
    launch(Work((bytes(2.0 * sizeof(T)) + 1) * double(in.size)), kernels<T>().binary_cross_entropy_with_logits,
           data<T>(loss), in.data, t.data, pointer(w), pointer(p), in.size, reduction, static_cast<T*>(partials));
    return loss;
  });
}

py::array bce_backward(py::handle dloss, py::handle x, py::handle target, py::handle weight, py::handle pos_weight,
                       py::handle reduction_name) {
  constexpr const char* op = "binary_cross_entropy_with_logits_backward";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>(op, "x", x);
    const auto t = input<T>(op, "target", target, in.shape());
    const auto w = optional_input<T>(op, "weight", weight, in.shape());
    const auto p = optional_input<T>(op, "pos_weight", pos_weight, in.shape());
    const Reduction reduction = reduction_named(op, reduction_name);
    const auto g = input<T>(op, "dloss", dloss, loss_shape(reduction, in.shape()));
    py::array dx = empty<T>(op, in.shape());
    launch(Work((bytes(3.0 * sizeof(T)) + 0.5) * double(in.size)),
           kernels<T>().binary_cross_entropy_with_logits_backward, data<T>(dx), g.data, in.data, t.data, pointer(w),
           pointer(p), in.size, reduction);
    return dx;
  });
}

}  // namespace

BINDINGS(loss) {
  const py::arg_v weight = py::arg("weight") = py::none(), pos_weight = py::arg("pos_weight") = py::none(),
                  reduction = py::arg("reduction") = "mean";
  define(m, "mse_loss", mse_loss, py::arg("x"), py::arg("target"), reduction);
  define(m, "mse_loss_backward", mse_loss_backward, py::arg("dloss"), py::arg("x"), py::arg("target"), reduction);
  define(m, "binary_cross_entropy_with_logits", bce, py::arg("x"), py::arg("target"), weight, pos_weight, reduction);
  define(m, "binary_cross_entropy_with_logits_backward", bce_backward, py::arg("dloss"), py::arg("x"),
         py::arg("target"), weight, pos_weight, reduction);
}

}  // namespace chainrule
