#include "bindings/axes.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

template <class T>
Work work_of(const Form& f, int outputs = 1) {
  return Work(bytes(double(sizeof(T)) * double(f.outer * f.inner) * double(f.n + outputs)));
}

void want_elements(const char* op, const Shape& shape, const std::vector<bool>& reduced) {
  for (size_t i = 0; i < shape.size(); i++)
    if (reduced[i] && shape[i] == 0)
      refuse(op, "argument 'x' of shape " + str(shape) + " has nothing along the axis to reduce");
}

// Axes that are apart take one pass each; run(y, x, form, last, partials) does one.
template <class T, class F>
py::array reduce_passes(const char* op, const Input<T>& in, const std::vector<bool>& reduced, bool keepdims, F&& run) {
  py::array y = empty<T>(op, reduced_shape(in.shape(), reduced, keepdims));
  const std::vector<Form> passes = reduction_passes(in.shape(), reduced);
  py::array between = no_array();  // keeps the result of one pass until the next has read it
  const T* from = in.data;
  for (size_t i = 0; i < passes.size(); i++) {
    const Form& f = passes[i];
    const bool last = i + 1 == passes.size();
    py::array to = last ? y : empty<T>(op, {f.outer * f.inner});
    const Scratch<T> partials(kernels<T>().reduce_partials(f.outer, f.n, f.inner));
    run(data<T>(to), from, f, last, static_cast<T*>(partials));
    between = to;
    from = data<T>(between);
  }
  return y;
}

py::array sum(py::handle x, py::handle axis, bool keepdims) {
  return by_dtype("sum", "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>("sum", "x", x);
    return reduce_passes("sum", in, axis_flags("sum", "axis", axis, in.ndim), keepdims,
                         [](T* y, const T* from, const Form& f, bool, T* partials) {
                           launch(work_of<T>(f), kernels<T>().sum, y, from, f.outer, f.n, f.inner, partials);
                         });
  });
}

py::array mean(py::handle x, py::handle axis, bool keepdims) {
  return by_dtype("mean", "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>("mean", "x", x);
    const std::vector<bool> reduced = axis_flags("mean", "axis", axis, in.ndim);
    i64 count = 1;
    for (int i = 0; i < in.ndim; i++)
      if (reduced[size_t(i)]) count *= in.shape(i);
    return reduce_passes(
        "mean", in, reduced, keepdims, [&](T* y, const T* from, const Form& f, bool last, T* partials) {
          launch(work_of<T>(f), kernels<T>().mean, y, from, f.outer, f.n, f.inner, last ? T(count) : T(1), partials);
        });
  });
}

template <class T>
using Values = void (*Kernels<T>::*)(Team&, T*, const T*, i64, i64, i64, T*);
template <class T>
using ValuesAndIndices = void (*Kernels<T>::*)(Team&, T*, i64*, const T*, i64, i64, i64, T*, i64*);
template <class T>
using Indices = void (*Kernels<T>::*)(Team&, i64*, const T*, i64, i64, i64, T*, i64*);

template <class T>
py::array extreme(const char* op, Values<T> kernel, py::handle x, py::handle axis, bool keepdims) {
  const auto in = input<T>(op, "x", x);
  const std::vector<bool> reduced = axis_flags(op, "axis", axis, in.ndim);
  want_elements(op, in.shape(), reduced);
  return reduce_passes(op, in, reduced, keepdims, [&](T* y, const T* from, const Form& f, bool, T* partials) {
    launch(work_of<T>(f), kernels<T>().*kernel, y, from, f.outer, f.n, f.inner, partials);
  });
}

py::array amax(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("amax", "x", x) ? extreme<float>("amax", &Kernels<float>::amax, x, axis, keepdims)
                                    : extreme<double>("amax", &Kernels<double>::amax, x, axis, keepdims);
}

py::array amin(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("amin", "x", x) ? extreme<float>("amin", &Kernels<float>::amin, x, axis, keepdims)
                                    : extreme<double>("amin", &Kernels<double>::amin, x, axis, keepdims);
}

// One axis, or None: the flattened array.
struct OneAxis {
  Form form;
  Shape out;
  OneAxis(const char* op, const Shape& shape, i64 size, py::handle axis, bool keepdims) : form{1, size, 1} {
    const int ndim = int(shape.size());
    std::vector<bool> reduced(size_t(ndim), axis.is_none());
    if (!axis.is_none()) {
      const int i = axis_index(op, "axis", axis, ndim);
      reduced[size_t(i)] = true;
      form = form_of_axis(shape, i);
    }
    want_elements(op, shape, reduced);
    out = reduced_shape(shape, reduced, keepdims);
  }
};

template <class T>
py::tuple best(const char* op, ValuesAndIndices<T> kernel, py::handle x, py::handle axis, bool keepdims) {
  const auto in = input<T>(op, "x", x);
  const OneAxis along(op, in.shape(), in.size, axis, keepdims);
  const Form& f = along.form;
  py::array values = empty<T>(op, along.out), indices = empty<i64>(op, along.out);
  const i64 count = kernels<T>().reduce_partials(f.outer, f.n, f.inner);
  const Scratch<T> partials(count);
  const Scratch<i64> places(count);
  launch(work_of<T>(f, 3), kernels<T>().*kernel, data<T>(values), data<i64>(indices), in.data, f.outer, f.n, f.inner,
         static_cast<T*>(partials), static_cast<i64*>(places));
  return py::make_tuple(values, indices);
}

py::tuple max(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("max", "x", x) ? best<float>("max", &Kernels<float>::max, x, axis, keepdims)
                                   : best<double>("max", &Kernels<double>::max, x, axis, keepdims);
}

py::tuple min(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("min", "x", x) ? best<float>("min", &Kernels<float>::min, x, axis, keepdims)
                                   : best<double>("min", &Kernels<double>::min, x, axis, keepdims);
}

template <class T>
py::array place(const char* op, Indices<T> kernel, py::handle x, py::handle axis, bool keepdims) {
  const auto in = input<T>(op, "x", x);
  const OneAxis along(op, in.shape(), in.size, axis, keepdims);
  const Form& f = along.form;
  py::array indices = empty<i64>(op, along.out);
  const i64 count = kernels<T>().reduce_partials(f.outer, f.n, f.inner);
  const Scratch<T> partials(count);
  const Scratch<i64> places(count);
  launch(work_of<T>(f, 2), kernels<T>().*kernel, data<i64>(indices), in.data, f.outer, f.n, f.inner,
         static_cast<T*>(partials), static_cast<i64*>(places));
  return indices;
}

py::array argmax(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("argmax", "x", x) ? place<float>("argmax", &Kernels<float>::argmax, x, axis, keepdims)
                                      : place<double>("argmax", &Kernels<double>::argmax, x, axis, keepdims);
}

py::array argmin(py::handle x, py::handle axis, bool keepdims) {
  return is_float32("argmin", "x", x) ? place<float>("argmin", &Kernels<float>::argmin, x, axis, keepdims)
                                      : place<double>("argmin", &Kernels<double>::argmin, x, axis, keepdims);
}

py::tuple var_mean(py::handle x, py::handle axis, double correction, bool keepdims) {
  return by_dtype("var_mean", "x", x, [&](auto zero) {
    using T = decltype(zero);
    auto in = input<T>("var_mean", "x", x);
    const std::vector<bool> reduced = axis_flags("var_mean", "axis", axis, in.ndim);
    want_elements("var_mean", in.shape(), reduced);
    const Shape out = reduced_shape(in.shape(), reduced, keepdims);
    py::array variance = empty<T>("var_mean", out), mean = empty<T>("var_mean", out);
    std::vector<Form> passes = reduction_passes(in.shape(), reduced);
    if (passes.size() > 1) {  // axes that are apart: moved together, since variances of parts don't simply add
      py::list order;
      for (const bool last : {false, true})
        for (int i = 0; i < in.ndim; i++)
          if (reduced[size_t(i)] == last) order.append(i);
      in = input<T>("var_mean", "x", in.array.attr("transpose")(order));
      const i64 kept = i64(mean.size());
      passes = {{kept, in.size / kept, 1}};
    }
    const Form& f = passes[0];
    const Scratch<T> partials(2 * kernels<T>().reduce_partials(f.outer, f.n, f.inner));
    launch(work_of<T>(f, 2), kernels<T>().var_mean, data<T>(variance), data<T>(mean), in.data, f.outer, f.n, f.inner,
           T(correction), static_cast<T*>(partials));
    return py::make_tuple(variance, mean);
  });
}

}  // namespace

BINDINGS(reduce) {
  const py::arg_v axis = py::arg("axis") = py::none(), keepdims = py::arg("keepdims") = false;
  define(m, "sum", sum, py::arg("x"), axis, keepdims);
  define(m, "mean", mean, py::arg("x"), axis, keepdims);
  define(m, "amax", amax, py::arg("x"), axis, keepdims);
  define(m, "amin", amin, py::arg("x"), axis, keepdims);
  define(m, "max", max, py::arg("x"), axis, keepdims);
  define(m, "min", min, py::arg("x"), axis, keepdims);
  define(m, "argmax", argmax, py::arg("x"), axis, keepdims);
  define(m, "argmin", argmin, py::arg("x"), axis, keepdims);
  define(m, "var_mean", var_mean, py::arg("x"), axis, py::arg("correction") = 1.0, keepdims);
}

}  // namespace chainrule
