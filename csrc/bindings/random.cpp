// Random arrays, dropout, generators.
#include "runtime/random.h"

#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// p 2^24, up: 24 random bits are under it with probability p.
i32 checked_threshold(const char* op, double p) {
  if (!(p >= 0 && p <= 1)) refuse(op, "p", std::to_string(p), "a probability in [0, 1]");
  return i32(std::ceil(p * 0x1p24));
}

template <class F>
py::array by_dtype_object(const char* op, const py::dtype& d, F&& f) {
  if (d.kind() == 'f' && d.itemsize() == 4) return f(float());
  if (d.kind() == 'f' && d.itemsize() == 8) return f(double());
  refuse_type(op, "dtype", std::string(py::str(d)), "float32 or float64");
}

constexpr double kDraw = 10;  // bytes of streaming that a random number costs as much as

py::array uniform(py::handle shape, u64 seed, u64 offset, double low, double high, const py::dtype& dtype) {
  if (!(low <= high) || !std::isfinite(high - low))
    refuse("uniform",
           "the range [" + std::to_string(low) + ", " + std::to_string(high) + ") is empty, reversed or not finite");
  return by_dtype_object("uniform", dtype, [&](auto zero) {
    using T = decltype(zero);
    if (!std::isfinite(T(high) - T(low))) refuse("uniform", "high - low overflows " + std::string(py::str(dtype)));
    py::array y = empty<T>("uniform", sizes("uniform", "shape", shape));
    const RandomKey key{seed, offset};
    launch(Work(bytes(kDraw * y.size())), kernels<T>().uniform, data<T>(y), key, i64(y.size()), T(low), T(high));
    return y;
  });
}

py::array normal(py::handle shape, u64 seed, u64 offset, double mean, double std, const py::dtype& dtype) {
  if (!std::isfinite(mean)) refuse("normal", "mean", std::to_string(mean), "a finite number");
  if (!(std >= 0) || !std::isfinite(std)) refuse("normal", "std", std::to_string(std), "a finite non-negative number");
  return by_dtype_object("normal", dtype, [&](auto zero) {
    using T = decltype(zero);
    py::array y = empty<T>("normal", sizes("normal", "shape", shape));
    const RandomKey key{seed, offset};
    launch(Work(bytes(2 * kDraw * y.size())), kernels<T>().normal, data<T>(y), key, i64(y.size()), T(mean), T(std));
    return y;
  });
}

py::array bernoulli(py::handle shape, double p, u64 seed, u64 offset, const py::dtype& dtype) {
  const i32 threshold = checked_threshold("bernoulli", p);
  return by_dtype_object("bernoulli", dtype, [&](auto zero) {
    using T = decltype(zero);
    py::array y = empty<T>("bernoulli", sizes("bernoulli", "shape", shape));
    const RandomKey key{seed, offset};
    launch(Work(bytes(kDraw * y.size())), kernels<T>().bernoulli, data<T>(y), key, i64(y.size()), threshold);
    return y;
  });
}

double dropout_scale(double p) { return p == 1 ? 0 : 1 / (1 - p); }

py::tuple dropout(py::handle x, double p, u64 seed, u64 offset) {
  const i32 threshold = checked_threshold("dropout", p);
  return by_dtype("dropout", "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = dense<T>("dropout", "x", x);
    py::array y = empty_like<T>("dropout", in.array), mask = empty_like<bool>("dropout", in.array);
    const RandomKey key{seed, offset};
    launch(Work(bytes((kDraw + 2 * sizeof(T)) * in.size)), kernels<T>().dropout, data<T>(y), data<bool>(mask), in.data,
           key, in.size, threshold, T(dropout_scale(p)));
    return py::make_tuple(y, mask);
  });
}

py::array dropout_backward(py::handle dy, py::handle mask, double p) {
  checked_threshold("dropout_backward", p);
  return by_dtype("dropout_backward", "dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const auto m = dense<bool>("dropout_backward", "mask", mask);
    want_shape_of("dropout_backward", "mask", m.array, dy);
    const auto g = dense<T>("dropout_backward", "dy", dy, m.array);
    py::array dx = empty_like<T>("dropout_backward", m.array);
    launch(Work(bytes((1 + 2.0 * sizeof(T)) * g.size)), kernels<T>().dropout_backward, data<T>(dx), g.data, m.data,
           g.size, T(dropout_scale(p)));
    return dx;
  });
}

// Draws that depend on the one before: one thread makes them.
void integers(Team&, i64* y, const RandomKey& key, i64 n, i64 low, u64 range) {
  random_integers(y, key, n, low, range);
}
void permutation(Team&, i64* y, const RandomKey& key, i64 n) { random_permutation(y, key, n); }

py::array random_integers_array(py::handle shape, i64 low, i64 high, u64 seed, u64 offset) {
  if (low >= high) refuse("randint", "low = " + std::to_string(low) + " isn't under high = " + std::to_string(high));
  py::array y = empty<i64>("randint", sizes("randint", "shape", shape));
  i64* out = data<i64>(y);
  const i64 n = i64(y.size()), drawn = low;
  const u64 range = u64(high) - u64(low);
  launch(on_one_thread(kDraw * double(n)), integers, out, RandomKey{seed, offset}, n, drawn, range);
  return y;
}

py::array random_permutation_array(i64 n, u64 seed, u64 offset) {
  if (n < 0) refuse("randperm", "n", std::to_string(n), "a non-negative integer");
  py::array y = empty<i64>("randperm", {n});
  i64* out = data<i64>(y);
  launch(on_one_thread(kDraw * double(n)), permutation, out, RandomKey{seed, offset}, n);
  return y;
}

std::pair<u64, u64> pair(RandomKey key) { return {key.seed, key.offset}; }

}  // namespace

BINDINGS(random) {
  name_function(reinterpret_cast<const void*>(integers), "randint");
  name_function(reinterpret_cast<const void*>(permutation), "randperm");
  define(m, "uniform", uniform, py::arg("shape"), py::arg("seed"), py::arg("offset"), py::arg("low"), py::arg("high"),
         py::arg("dtype"));
  define(m, "normal", normal, py::arg("shape"), py::arg("seed"), py::arg("offset"), py::arg("mean"), py::arg("std"),
         py::arg("dtype"));
  define(m, "bernoulli", bernoulli, py::arg("shape"), py::arg("p"), py::arg("seed"), py::arg("offset"),
         py::arg("dtype"));
  define(m, "dropout", dropout, py::arg("x"), py::arg("p"), py::arg("seed"), py::arg("offset"));
  define(m, "dropout_backward", dropout_backward, py::arg("dy"), py::arg("mask"), py::arg("p"));
  define(m, "randint", random_integers_array, py::arg("shape"), py::arg("low"), py::arg("high"), py::arg("seed"),
         py::arg("offset"));
  define(m, "randperm", random_permutation_array, py::arg("n"), py::arg("seed"), py::arg("offset"));
  define(
      m, "philox_block",
      [](const std::array<u32, 4>& counter, const std::array<u32, 2>& key) {
        std::array<u32, 4> words;
        philox_block(counter.data(), key.data(), words.data());
        return words;
      },
      py::arg("counter"), py::arg("key"));
  py::class_<Generator, std::shared_ptr<Generator>>(m, "Generator")
      .def(py::init<u64>(), py::arg("seed"))
      .def("next",
           [](const std::shared_ptr<Generator>& g) {
             const RandomKey key = g->next();
             if (Recording* recording = Recording::active()) recording->note_draw(g, key);
             return pair(key);
           })
      .def("get_state", [](const Generator& g) { return pair(g.state()); })
      .def(
          "set_state",
          [](Generator& g, u64 seed, u64 offset) {
            if (Recording::active()) throw RecordingError("a compiled step can't seed a generator; do it outside");
            g.set_state({seed, offset});
          },
          py::arg("seed"), py::arg("offset"));
}

}  // namespace chainrule
