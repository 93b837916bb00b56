#include "bindings/check.h"
#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// The checked arguments that forward and backward share. Classes are axis 1 of x, or its only axis.
template <class T>
struct Problem {
  Input<T> x;
  Shape positions;
  i64 outer = 1, n = 1, inner = 1;
  std::optional<Input<i64>> labels;
  std::optional<Input<T>> probabilities, weight;
  T smoothing;
  Reduction reduction;

  Problem(const char* op, py::handle scores, py::handle target, py::handle weights, i64 ignore_index,
          double label_smoothing, py::handle reduction_name)
      : x(input<T>(op, "x", scores)), smoothing(T(label_smoothing)), reduction(reduction_named(op, reduction_name)) {
    if (x.ndim == 0) refuse(op, "x", describe(scores), "(classes,) or (batch, classes, ...)");
    const int axis = x.ndim == 1 ? 0 : 1;
    for (int i = 0; i < x.ndim; i++) {
      if (i != axis) positions.push_back(x.shape(i));
      (i < axis ? outer : i == axis ? n : inner) *= x.shape(i);
    }
    if (n == 0) refuse(op, "x", describe(scores), "one class or more");
    if (!(label_smoothing >= 0 && label_smoothing <= 1))
      refuse(op, "label_smoothing", std::to_string(label_smoothing), "a number from 0 to 1");
    if (py::isinstance<py::array>(target) && py::reinterpret_borrow<py::array>(target).dtype().kind() == 'f') {
      probabilities = input<T>(op, "target", target, x.shape());
    } else {
      labels = indices(op, "target", target);
      if (labels->shape() != positions) refuse(op, "target", describe(target), "shape " + str(positions));
      check_range(*labels, 0, n, ignore_index, [op, classes = n, ignore_index](i64 label) {
        refuse(
            op, "target", "holding the label " + std::to_string(label),
            "labels from 0 to " + std::to_string(classes - 1) + ", or ignore_index = " + std::to_string(ignore_index));
      });
    }
    weight = optional_input<T>(op, "weight", weights, {n});
  }
  i64 count() const { return outer * inner; }
  Shape stats() const { return joined({2}, positions); }
  Shape loss() const { return reduction == Reduction::none ? positions : Shape{}; }
};

py::tuple cross_entropy(py::handle x, py::handle target, py::handle weight, i64 ignore_index, double label_smoothing,
                        py::handle reduction) {
  constexpr const char* op = "cross_entropy";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const Problem<T> p(op, x, target, weight, ignore_index, label_smoothing, reduction);
    py::array loss = empty<T>(op, p.loss()), stats = empty<T>(op, p.stats()), total = empty<T>(op, {});
    const Scratch<T> losses(p.count()), weights(p.count());
    launch(Work((bytes(sizeof(T)) + 0.5) * double(p.x.size)), kernels<T>().cross_entropy, data<T>(loss), data<T>(stats),
           data<T>(total), p.x.data, pointer(p.labels), pointer(p.probabilities), pointer(p.weight), p.outer, p.n,
           p.inner, ignore_index, p.smoothing, p.reduction, static_cast<T*>(losses), static_cast<T*>(weights));
    return py::make_tuple(loss, stats, total);
  });
}

py::array cross_entropy_backward(py::handle dloss, py::handle x, py::handle target, py::handle stats, py::handle total,
                                 py::handle weight, i64 ignore_index, double label_smoothing, py::handle reduction) {
  constexpr const char* op = "cross_entropy_backward";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const Problem<T> p(op, x, target, weight, ignore_index, label_smoothing, reduction);
    const auto g = input<T>(op, "dloss", dloss, p.loss());
    const auto s = input<T>(op, "stats", stats, p.stats());
    const auto w = input<T>(op, "total", total, Shape{});
    py::array dx = empty<T>(op, p.x.shape());
    launch(Work((2 * bytes(sizeof(T)) + 0.5) * double(p.x.size)), kernels<T>().cross_entropy_backward, data<T>(dx),
           g.data, p.x.data, s.data, w.data, pointer(p.labels), pointer(p.probabilities), pointer(p.weight), p.outer,
           p.n, p.inner, ignore_index, p.smoothing, p.reduction);
    return dx;
  });
}

}  // namespace

BINDINGS(cross_entropy) {
  const py::arg_v weight = py::arg("weight") = py::none(), ignore = py::arg("ignore_index") = -100,
                  smoothing = py::arg("label_smoothing") = 0.0, reduction = py::arg("reduction") = "mean";
  define(m, "cross_entropy", cross_entropy, py::arg("x"), py::arg("target"), weight, ignore, smoothing, reduction);
  define(m, "cross_entropy_backward", cross_entropy_backward, py::arg("dloss"), py::arg("x"), py::arg("target"),
         py::arg("stats"), py::arg("total"), weight, ignore, smoothing, reduction);
}

}  // namespace chainrule
