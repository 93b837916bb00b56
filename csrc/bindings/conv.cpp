// Convolutions: shapes and windows are checked as PyTorch checks them.
#include "bindings/activation.h"
#include "bindings/images.h"
#include "bindings/launch.h"
#include "bindings/registry.h"
#include "bindings/window.h"

namespace chainrule {
namespace {

struct Options {
  py::handle stride, padding, dilation, groups;
};

i64 positive(const char* op, const char* arg, py::handle x) {
  if (py::isinstance<py::list>(x) || py::isinstance<py::tuple>(x)) refuse_type(op, arg, describe(x), "an integer");
  return pair(op, arg, x, 1).h;
}

Conv2d conv_of(const char* op, const Shape& x, const Shape& w, const Options& o, Format format) {
  const Pair stride = pair(op, "stride", o.stride, 1), padding = pair(op, "padding", o.padding, 0),
             dilation = pair(op, "dilation", o.dilation, 1);
  const i64 groups = positive(op, "groups", o.groups);
  if (w[0] == 0 || w[0] % groups)
    refuse(op, "groups", std::to_string(groups), "a divisor of weight's output channels, " + std::to_string(w[0]));
  if (w[2] == 0 || w[3] == 0) refuse(op, "weight", "of shape " + str(w), "a positive height and width");
  if (x[1] % groups || x[1] / groups != w[1])
    refuse(op, "the " + std::to_string(x[1]) + " input channels, in " + std::to_string(groups) +
                   " groups, don't fit weight of shape " + str(w) + ", argument 'weight'");
  if (w[2] > (i64(1) << 31) || w[3] > (i64(1) << 31)) refuse(op, "weight", "of shape " + str(w), "a window under 2^31");
  const i64 room_h = x[2] + 2 * padding.h - dilation.h * (w[2] - 1) - 1;
  const i64 room_w = x[3] + 2 * padding.w - dilation.w * (w[3] - 1) - 1;
  if (room_h < 0 || room_w < 0)
    refuse(op, "the window of weight " + str(w) + " with dilation " + str(dilation) +
                   " is larger than the input of shape " + str(x) + " with padding " + str(padding));
  const Window2d window{x[2],
                        x[3],
                        room_h / stride.h + 1,
                        room_w / stride.w + 1,
                        w[2],
                        w[3],
                        stride.h,
                        stride.w,
                        padding.h,
                        padding.w,
                        dilation.h,
                        dilation.w};
  return {x[0], x[1], w[0], groups, window, format};
}

Shape output_shape(const Conv2d& c) { return {c.batch, c.cout, c.window.oh, c.window.ow}; }

template <class T>
Work work_of(const Conv2d& c) {
  const Window2d& g = c.window;
  const double out = double(c.batch) * double(c.cout) * double(g.oh) * double(g.ow);
  return Work(flops(2 * out * double(c.cin / c.groups) * double(g.kh * g.kw)) + bytes(sizeof(T) * out));
}

py::array conv2d(py::handle x_in, py::handle weight, py::handle bias, py::handle stride, py::handle padding,
                 py::handle dilation, py::handle groups, py::handle activation, py::handle residual) {
  const char* op = "conv2d";
  return by_dtype(op, "x", x_in, [&](auto zero) {
    using T = decltype(zero);
    const auto x = images<T>(op, "x", x_in);
    const auto w = input<T>(op, "weight", weight, 4);
    const Conv2d conv = conv_of(op, x.shape(), w.shape(), {stride, padding, dilation, groups}, x.format);
    const Activation act = activation_named(op, activation);
    Input<T> b{};
    if (!bias.is_none()) b = input<T>(op, "bias", bias, Shape{conv.cout});
    Images<T> r{};
    if (!residual.is_none()) r = images<T>(op, "residual", residual, output_shape(conv), x.format);
    py::array y = empty_images<T>(op, output_shape(conv), x.format);
    const Work work = work_of<T>(conv);
    const Scratch<T> scratch(kernels<T>().conv2d_scratch(conv, work.threads));
    launch(work, kernels<T>().conv2d, data<T>(y), x.data, w.data, b.data, r.data, conv, act, static_cast<T*>(scratch));
    return y;
  });
}

py::array conv2d_backward_input(py::handle dy, py::handle weight, py::handle input_shape, py::handle stride,
                                py::handle padding, py::handle dilation, py::handle groups) {
  const char* op = "conv2d_backward_input";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto w = input<T>(op, "weight", weight, 4);
    const Shape shape = four_sizes(op, "input_shape", input_shape);
    const auto g = images<T>(op, "dy", dy);
    const Conv2d conv = conv_of(op, shape, w.shape(), {stride, padding, dilation, groups}, g.format);
    if (g.shape() != output_shape(conv)) refuse(op, "dy", describe(dy), "shape " + str(output_shape(conv)));
    py::array dx = empty_images<T>(op, shape, g.format);
    if (dx.size() == 0) return dx;  // no pixels have no phases
    const Work work = work_of<T>(conv);
    const Scratch<T> scratch(kernels<T>().conv2d_backward_input_scratch(conv, work.threads));
    launch(work, kernels<T>().conv2d_backward_input, data<T>(dx), g.data, w.data, conv, static_cast<T*>(scratch));
    return dx;
  });
}

py::array conv2d_backward_weight(py::handle dy, py::handle x_in, py::handle weight_shape, py::handle stride,
                                 py::handle padding, py::handle dilation, py::handle groups) {
  const char* op = "conv2d_backward_weight";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto x = images<T>(op, "x", x_in);
    const Shape shape = four_sizes(op, "weight_shape", weight_shape);
    const Conv2d conv = conv_of(op, x.shape(), shape, {stride, padding, dilation, groups}, x.format);
    const auto g = images<T>(op, "dy", dy, output_shape(conv), x.format);
    py::array dw = empty<T>(op, shape);
    const Work work = work_of<T>(conv);
    const Scratch<T> scratch(kernels<T>().conv2d_backward_weight_scratch(conv, work.threads));
    launch(work, kernels<T>().conv2d_backward_weight, data<T>(dw), g.data, x.data, conv, static_cast<T*>(scratch));
    return dw;
  });
}

py::array conv2d_backward_bias(py::handle dy) {
  const char* op = "conv2d_backward_bias";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = images<T>(op, "dy", dy);
    py::array db = empty<T>(op, {g.shape(1)});
    const Work work(bytes(sizeof(T) * double(g.size)));
    const Scratch<T> scratch(kernels<T>().conv2d_backward_bias_scratch(g.shape(0), g.shape(1), g.format, work.threads));
    launch(work, kernels<T>().conv2d_backward_bias, data<T>(db), g.data, g.shape(0), g.shape(1),
           g.shape(2) * g.shape(3), g.format, static_cast<T*>(scratch));
    return db;
  });
}

}  // namespace

BINDINGS(conv) {
  using py::arg;
  define(m, "conv2d", conv2d, arg("x"), arg("weight"), arg("bias") = py::none(), arg("stride") = 1, arg("padding") = 0,
         arg("dilation") = 1, arg("groups") = 1, arg("activation") = "none", arg("residual") = py::none());
  define(m, "conv2d_backward_input", conv2d_backward_input, arg("dy"), arg("weight"), arg("input_shape"),
         arg("stride") = 1, arg("padding") = 0, arg("dilation") = 1, arg("groups") = 1);
  define(m, "conv2d_backward_weight", conv2d_backward_weight, arg("dy"), arg("x"), arg("weight_shape"),
         arg("stride") = 1, arg("padding") = 0, arg("dilation") = 1, arg("groups") = 1);
  define(m, "conv2d_backward_bias", conv2d_backward_bias, arg("dy"));
}

}  // namespace chainrule
