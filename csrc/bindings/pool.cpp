// Pooling: windows are checked as PyTorch checks them.
#include "bindings/arrays.h"
#include "bindings/check.h"
#include "bindings/images.h"
#include "bindings/launch.h"
#include "bindings/registry.h"
#include "bindings/window.h"

namespace chainrule {
namespace {

// What the kernels walk: images of several channels per pixel, or the planes of channels_first ones.
struct Planes {
  i64 count, channels;
  Planes(const Shape& shape, Format format) : count(shape[0] * shape[1]), channels(1) {
    if (format == Format::channels_last && shape[1] > 1) count = shape[0], channels = shape[1];
  }
};

void want_planes(const char* op, const char* arg, const Shape& shape) {
  if (shape[1] == 0 || shape[2] == 0 || shape[3] == 0)
    refuse(op, arg, "of shape " + str(shape), "positive sizes (only the batch may be 0)");
}

// Outputs of one axis; with ceil_mode a last window may reach past the padding, but must start before it.
i64 outputs(i64 size, i64 kernel, i64 stride, i64 padding, i64 dilation, bool ceil_mode) {
  const i64 room = size + 2 * padding - dilation * (kernel - 1) - 1;
  if (room < 0 && !(ceil_mode && room > -stride)) return 0;
  const i64 out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  return ceil_mode && (out - 1) * stride >= size + padding ? out - 1 : out;
}

Window2d window(const char* op, const Shape& in, py::handle kernel_size, py::handle stride, py::handle padding,
                py::handle dilation, bool ceil_mode) {
  want_planes(op, "x", in);
  const Pair kernel = pair(op, "kernel_size", kernel_size, 1), pad = pair(op, "padding", padding, 0);
  const bool same = stride.is_none() ||
                    ((py::isinstance<py::list>(stride) || py::isinstance<py::tuple>(stride)) && py::len(stride) == 0);
  const Pair step = same ? kernel : pair(op, "stride", stride, 1);
  const Pair dilate = dilation ? pair(op, "dilation", dilation, 1) : Pair{1, 1};
  if (pad.h > ((kernel.h - 1) * dilate.h + 1) / 2 || pad.w > ((kernel.w - 1) * dilate.w + 1) / 2)
    refuse(op, "padding", str(pad),
           "at most half of the window's extent, kernel_size " + str(kernel) + " with dilation " + str(dilate));
  const i64 oh = outputs(in[2], kernel.h, step.h, pad.h, dilate.h, ceil_mode),
            ow = outputs(in[3], kernel.w, step.w, pad.w, dilate.w, ceil_mode);
  if (oh < 1 || ow < 1)
    refuse(op, "the window of kernel_size " + str(kernel) + " and dilation " + str(dilate) +
                   " is larger than x of shape " + str(in) + " with padding " + str(pad));
  return {in[2], in[3], oh, ow, kernel.h, kernel.w, step.h, step.w, pad.h, pad.w, dilate.h, dilate.w};
}

py::tuple max_pool2d(py::handle x, py::handle kernel_size, py::handle stride, py::handle padding, py::handle dilation,
                     bool ceil_mode, bool return_indices) {
  return by_dtype("max_pool2d", "x", x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    auto in = images<T>("max_pool2d", "x", x);
    // The kernel keeps a pixel's place in the bits of an element.
    if (in.shape(2) * in.shape(3) >= i64(1) << 31)
      in = images<T>("max_pool2d", "x", x, in.shape(), Format::channels_first);
    const Window2d g = window("max_pool2d", in.shape(), kernel_size, stride, padding, dilation, ceil_mode);
    const Shape shape{in.shape(0), in.shape(1), g.oh, g.ow};
    py::array y = empty_images<T>("max_pool2d", shape, in.format);
    py::object indices = py::none();
    i64* where = nullptr;
    const Planes planes(shape, in.format);
    if (return_indices) {
      py::array a = empty_images<i64>("max_pool2d", shape, in.format);
      where = data<i64>(a);
      indices = a;
    }
    const double taps = double(y.size()) * double(g.kh * g.kw);
    const Work work(bytes(sizeof(T) * (double(in.size) + taps)));
    const Scratch<T> scratch(kernels<T>().max_pool2d_scratch(planes.count, planes.channels, g, work.threads));
    launch(work, kernels<T>().max_pool2d, data<T>(y), where, in.data, planes.count, planes.channels, g,
           static_cast<T*>(scratch));
    return py::make_tuple(y, indices);
  });
}

void check_places(const Flag& bad, const char* op, i64 in) {
  bad.check([=] {
    refuse(op, "indices", "out of range",
           "positions in [0, " + std::to_string(in) + ") of the plane (or -1 for an empty window)");
  });
}

py::array max_pool2d_backward(py::handle dy, py::handle indices, py::handle input_shape) {
  const char* op = "max_pool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = images<T>(op, "dy", dy);
    const auto where = images<i64>(op, "indices", indices, g.shape(), g.format);
    const Shape in = four_sizes(op, "input_shape", input_shape);
    if (in[0] != g.shape(0) || in[1] != g.shape(1))
      refuse(op, "input_shape", str(in), "the batch and channels of dy, of shape " + str(g.shape()));
    py::array dx = empty_images<T>(op, in, g.format);
    const Planes planes(in, g.format);
    const Flag bad;
    launch(Work(bytes(2.0 * sizeof(T) * double(dx.size() + 3 * g.size))), kernels<T>().max_pool2d_backward, data<T>(dx),
           static_cast<i32*>(bad), g.data, where.data, planes.count, planes.channels, in[2] * in[3],
           g.shape(2) * g.shape(3));
    check_places(bad, op, in[2] * in[3]);
    return dx;
  });
}

py::array max_pool2d_gather(py::handle x, py::handle indices) {
  const char* op = "max_pool2d_gather";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = images<T>(op, "x", x);
    auto where = images<i64>(op, "indices", indices);
    const Shape out = where.shape();
    if (out[0] != in.shape(0) || out[1] != in.shape(1))
      refuse(op, "indices", "of shape " + str(out), "the batch and channels of x, of shape " + str(in.shape()));
    where = images<i64>(op, "indices", where.array, out, in.format);
    py::array y = empty_images<T>(op, out, in.format);
    const Planes planes(out, in.format);
    const Flag bad;
    launch(Work(bytes(4.0 * sizeof(T) * double(y.size()))), kernels<T>().max_pool2d_gather, data<T>(y),
           static_cast<i32*>(bad), in.data, where.data, planes.count, planes.channels, in.shape(2) * in.shape(3),
           out[2] * out[3]);
    check_places(bad, op, in.shape(2) * in.shape(3));
    return y;
  });
}

i64 divisor(const char* op, py::handle override) {
  if (override.is_none()) return 0;
  if (!PyIndex_Check(override.ptr()))
    refuse_type(op, "divisor_override", describe(override), "a non-zero integer, or None");
  const i64 d = PyLong_AsLongLong(override.ptr());
  const bool overflow = d == -1 && PyErr_Occurred();
  PyErr_Clear();
  if (overflow || d == 0) refuse(op, "divisor_override", py::str(override), "a non-zero integer of 64 bits, or None");
  return d;
}

py::array avg_pool2d(py::handle x, py::handle kernel_size, py::handle stride, py::handle padding, bool ceil_mode,
                     bool count_include_pad, py::handle divisor_override) {
  const char* op = "avg_pool2d";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = images<T>(op, "x", x);
    const Planes planes(in.shape(), in.format);
    const Window2d g = window(op, in.shape(), kernel_size, stride, padding, py::handle(), ceil_mode);
    const i64 count = divisor(op, divisor_override);
    py::array y = empty_images<T>(op, {in.shape(0), in.shape(1), g.oh, g.ow}, in.format);
    const double taps = double(y.size()) * double(g.kh * g.kw);
    const Work work(bytes(sizeof(T) * (double(in.size) + taps)));
    const Scratch<T> scratch(kernels<T>().avg_pool2d_scratch(planes.count, planes.channels, g, work.threads));
    launch(work, kernels<T>().avg_pool2d, data<T>(y), in.data, planes.count, planes.channels, g, count_include_pad,
           count, static_cast<T*>(scratch));
    return y;
  });
}

py::array avg_pool2d_backward(py::handle dy, py::handle input_shape, py::handle kernel_size, py::handle stride,
                              py::handle padding, bool ceil_mode, bool count_include_pad, py::handle divisor_override) {
  const char* op = "avg_pool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const Shape in = four_sizes(op, "input_shape", input_shape);
    const Window2d g = window(op, in, kernel_size, stride, padding, py::handle(), ceil_mode);
    const i64 count = divisor(op, divisor_override);
    const auto grad = images<T>(op, "dy", dy);
    const Shape want{in[0], in[1], g.oh, g.ow};
    if (grad.shape() != want) refuse(op, "dy", describe(dy), "shape " + str(want));
    py::array dx = empty_images<T>(op, in, grad.format);
    const Planes planes(in, grad.format);
    const Work work(
        bytes(2.0 * sizeof(T) * double(in[0] * in[1]) * double(g.h * g.w + g.oh * (g.ow * g.kw + g.kh * g.w))));
    const Scratch<T> scratch(kernels<T>().avg_pool2d_backward_scratch(planes.count, planes.channels, g, work.threads));
    launch(work, kernels<T>().avg_pool2d_backward, data<T>(dx), grad.data, planes.count, planes.channels, g,
           count_include_pad, count, static_cast<T*>(scratch));
    return dx;
  });
}

// Bins of 0 outputs are allowed, as in PyTorch; an axis without elements has no average.
void want_adaptive(const char* op, const char* arg, const Shape& in) {
  if (in[2] == 0 || in[3] == 0) refuse(op, arg, "of shape " + str(in), "a positive height and width");
}

py::array adaptive_avg_pool2d(py::handle x, py::handle output_size) {
  const char* op = "adaptive_avg_pool2d";
  return by_dtype(op, "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = images<T>(op, "x", x);
    const Planes planes(in.shape(), in.format);
    want_adaptive(op, "x", in.shape());
    const Pair out = pair(op, "output_size", output_size, 0);
    py::array y = empty_images<T>(op, {in.shape(0), in.shape(1), out.h, out.w}, in.format);
    launch(Work(bytes(sizeof(T) * double(in.size + y.size()))), kernels<T>().adaptive_avg_pool2d, data<T>(y), in.data,
           planes.count, planes.channels, in.shape(2), in.shape(3), out.h, out.w);
    return y;
  });
}

py::array adaptive_avg_pool2d_backward(py::handle dy, py::handle input_shape) {
  const char* op = "adaptive_avg_pool2d_backward";
  return by_dtype(op, "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto g = images<T>(op, "dy", dy);
    const Shape in = four_sizes(op, "input_shape", input_shape);
    want_adaptive(op, "input_shape", in);
    if (in[0] != g.shape(0) || in[1] != g.shape(1))
      refuse(op, "input_shape", str(in), "the batch and channels of dy, of shape " + str(g.shape()));
    py::array dx = empty_images<T>(op, in, g.format);
    const Planes planes(in, g.format);
    launch(Work(bytes(2.0 * sizeof(T) * double(dx.size() + g.size))), kernels<T>().adaptive_avg_pool2d_backward,
           data<T>(dx), g.data, planes.count, planes.channels, in[2], in[3], g.shape(2), g.shape(3));
    return dx;
  });
}

}  // namespace

BINDINGS(pool) {
  using py::arg;
  define(m, "max_pool2d", max_pool2d, arg("x"), arg("kernel_size"), arg("stride") = py::none(), arg("padding") = 0,
         arg("dilation") = 1, arg("ceil_mode") = false, arg("return_indices") = true);
  define(m, "max_pool2d_backward", max_pool2d_backward, arg("dy"), arg("indices"), arg("input_shape"));
  define(m, "max_pool2d_gather", max_pool2d_gather, arg("x"), arg("indices"));
  define(m, "avg_pool2d", avg_pool2d, arg("x"), arg("kernel_size"), arg("stride") = py::none(), arg("padding") = 0,
         arg("ceil_mode") = false, arg("count_include_pad") = true, arg("divisor_override") = py::none());
  define(m, "avg_pool2d_backward", avg_pool2d_backward, arg("dy"), arg("input_shape"), arg("kernel_size"),
         arg("stride") = py::none(), arg("padding") = 0, arg("ceil_mode") = false, arg("count_include_pad") = true,
         arg("divisor_override") = py::none());
  define(m, "adaptive_avg_pool2d", adaptive_avg_pool2d, arg("x"), arg("output_size"));
  define(m, "adaptive_avg_pool2d_backward", adaptive_avg_pool2d_backward, arg("dy"), arg("input_shape"));
}

}  // namespace chainrule
