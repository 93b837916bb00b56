#include <algorithm>
#include <cmath>

#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// The lists of arrays of one call. Everything is checked while the lists are read, before a kernel may write.
class Lists {
 public:
  Lists(const char* op, const char* arg, py::handle first) : op_(op), first_(arg) {
    const py::sequence list = sequence(arg, first);
    count_ = i64(list.size());
    size_.reserve(count_);
    start_.reserve(count_ + 1);
    start_.push_back(0);
    for (py::handle item : list) {
      const i64 size = py::isinstance<py::array>(item) ? i64(py::reinterpret_borrow<py::array>(item).size()) : 0;
      size_.push_back(size);
      start_.push_back(start_.back() + (size + kAlign - 1) / kAlign * kAlign);
    }
    leaders_ = list;
  }

  // Arrays that the kernel writes, dense and shaped like those of the first list; none of them may overlap another.
  template <class T>
  std::vector<T*> written(const char* arg, py::handle x) {
    return collect<T, T*>(arg, x, true);
  }
  // Arrays that the kernel reads, in any layout; they may overlap each other.
  template <class T>
  std::vector<const T*> read(const char* arg, py::handle x) {
    return collect<T, const T*>(arg, x, false);
  }
  std::vector<i64*> counters(const char* arg, py::handle x) {
    std::vector<i64*> pointers;
    const py::sequence list = same_length(arg, x);
    for (i64 i = 0; i < count_; i++) {
      const py::object item = list[i];
      const std::string name = at(arg, i);
      const auto counter = inout<i64>(op_, name.c_str(), item);
      if (counter.size != 1) refuse(op_, name.c_str(), describe(item), "a single int64");
      if (*counter.data < 0) refuse(op_, name.c_str(), std::to_string(*counter.data), "a count of steps, 0 or more");
      hold(counter.data, sizeof(i64), true);
      pointers.push_back(counter.data);
    }
    return pointers;
  }

  // Refuses arrays that share memory where one of them is written.
  void refuse_overlap() {
    std::sort(blocks_.begin(), blocks_.end(), [](const Block& a, const Block& b) { return a.begin < b.begin; });
    const char *written_end = nullptr, *read_end = nullptr;
    for (const Block& b : blocks_) {
      if (b.begin < written_end || (b.written && b.begin < read_end))
        refuse(op_, "two of the arrays share memory, and one of them is written");
      (b.written ? written_end : read_end) = std::max(b.end, b.written ? written_end : read_end);
    }
  }

  // After the launch.
  void write_back() {
    for (auto& [to, from] : written_back_) launch_copy(op_, to, from);
  }

  Segments segments() const { return {count_, size_.data(), start_.data()}; }
  i64 elements() const { return start_.back(); }

 private:
  static constexpr i64 kAlign = 16;  // see Segments
  struct Block {
    const char *begin, *end;
    bool written;
  };

  static std::string at(const char* arg, i64 i) { return std::string(arg) + "[" + std::to_string(i) + "]"; }

  py::sequence sequence(const char* arg, py::handle x) const {
    if (!py::isinstance<py::list>(x) && !py::isinstance<py::tuple>(x))
      refuse_type(op_, arg, describe(x), "a list of arrays");
    return py::reinterpret_borrow<py::sequence>(x);
  }
  py::sequence same_length(const char* arg, py::handle x) const {
    const py::sequence list = sequence(arg, x);
    if (i64(list.size()) != count_)
      refuse(op_, arg, "a list of " + std::to_string(list.size()),
             std::string("as many as '") + first_ + "', " + std::to_string(count_));
    return list;
  }

  template <class T, class Pointer>
  std::vector<Pointer> collect(const char* arg, py::handle x, bool written) {
    const py::sequence list = same_length(arg, x);
    std::vector<Pointer> pointers;
    pointers.reserve(count_);
    for (i64 i = 0; i < count_; i++) {
      const py::object item = list[i];
      Pointer data;
      i64 size;
      const auto leader = py::reinterpret_borrow<py::array>(py::object(leaders_[i]));
      if (is_plain(leader) && (!written || is_plain(item))) {
        if (written) {
          const auto array = element<InOut<T>>(arg, i, [&](const char* name) { return inout<T>(op_, name, item); });
          data = array.data, size = array.size;
        } else {
          const auto array = element<Input<T>>(arg, i, [&](const char* name) { return input<T>(op_, name, item); });
          data = const_cast<T*>(array.data), size = array.size;
          if (array.array.ptr() != item.ptr()) copies_.push_back(array.array);
        }
      } else {
        const auto array =
            element<Input<T>>(arg, i, [&](const char* name) { return in_order<T>(name, item, leader, written); });
        data = const_cast<T*>(array.data), size = array.size;
      }
      const auto a = py::reinterpret_borrow<py::array>(item);
      if (a.ndim() != leader.ndim() || !std::equal(a.shape(), a.shape() + a.ndim(), leader.shape()))
        refuse(op_, at(arg, i).c_str(), describe(item), "the shape of " + at(first_, i) + ", " + str(shape_of(leader)));
      hold(data, size * i64(sizeof(T)), written);
      pointers.push_back(data);
    }
    return pointers;
  }

  static bool is_plain(py::handle x) {
    return !py::isinstance<py::array>(x) || (py::reinterpret_borrow<py::array>(x).flags() & py::array::c_style);
  }

  // An array in the order of the first list's: itself, or a copy, whose values are written back where they are made.
  template <class T>
  Input<T> in_order(const char* name, py::handle x, const py::array& leader, bool written) {
    const Input<T> own = dense<T>(op_, name, x);
    if (written && (own.array.ptr() != x.ptr() || !own.array.writeable())) inout<T>(op_, name, x);  // refuses it
    if (own.shape() != shape_of(leader)) return own;  // refused by the caller
    const Input<T> in = dense<T>(op_, name, own.array, leader);
    if (in.array.ptr() == x.ptr()) return in;
    hold(own.data, own.size * i64(sizeof(T)), written);
    copies_.push_back(in.array);
    if (written) written_back_.emplace_back(own.array, in.array);
    return in;
  }

  // The element's own name, "grads[3]", is made only for the message of a refusal.
  template <class Result, class F>
  Result element(const char* arg, i64 i, F&& get) {
    try {
      return get(arg);
    } catch (const py::builtin_exception&) {
      const std::string name = at(arg, i);
      return get(name.c_str());
    }
  }

  void hold(const void* data, i64 size, bool written) {
    const char* begin = static_cast<const char*>(data);
    if (size) blocks_.push_back({begin, begin + size, written});
  }

  const char *op_, *first_;
  i64 count_;
  py::sequence leaders_{py::tuple()};
  std::vector<i64> size_, start_;
  std::vector<Block> blocks_;
  std::vector<py::array> copies_;
  std::vector<std::pair<py::array, py::array>> written_back_;  // an array, and the copy that the kernel wrote
};

// The dtype of the whole list: its first array's; float32 for an empty list.
template <class F>
auto by_list_dtype(const char* op, const char* arg, py::handle list, F&& f) {
  if (py::isinstance<py::list>(list) || py::isinstance<py::tuple>(list)) {
    const auto items = py::reinterpret_borrow<py::sequence>(list);
    if (items.size() == 0) return f(float());
    const std::string name = std::string(arg) + "[0]";
    return by_dtype(op, name.c_str(), py::object(items[0]), f);
  }
  refuse_type(op, arg, describe(list), "a list of arrays");
}

void want_at_least_0(const char* op, const char* arg, double x) {
  if (!(x >= 0)) refuse(op, arg, std::to_string(x), "a number, 0 or more");
}
void want_finite(const char* op, const char* arg, double x) {
  if (!std::isfinite(x)) refuse(op, arg, std::to_string(x), "a finite number");
}

void sgd(py::handle params, py::handle grads, py::handle buffers, py::handle steps, double lr, double momentum,
         double dampening, double weight_decay, bool nesterov, bool maximize) {
  want_finite("sgd", "lr", lr);
  want_finite("sgd", "momentum", momentum);
  want_finite("sgd", "dampening", dampening);
  want_finite("sgd", "weight_decay", weight_decay);
  if (buffers.is_none() != steps.is_none())
    refuse("sgd", "'buffers' and 'steps' come together: both lists, or both None");
  if (buffers.is_none() && momentum != 0) refuse("sgd", "momentum needs 'buffers' and 'steps'");
  by_list_dtype("sgd", "params", params, [&](auto zero) {
    using T = decltype(zero);
    Lists lists("sgd", "params", params);
    const auto p = lists.written<T>("params", params);
    const auto g = lists.read<T>("grads", grads);
    std::vector<T*> b;
    std::vector<i64*> s;
    if (!buffers.is_none()) {
      b = lists.written<T>("buffers", buffers);
      s = lists.counters("steps", steps);
    }
    lists.refuse_overlap();
    const SgdSettings settings{lr, momentum, dampening, weight_decay, nesterov, maximize};
    const Segments segments = lists.segments();
    launch_with(OnInterrupt::finish, Work(bytes((buffers.is_none() ? 3.0 : 5.0) * sizeof(T) * lists.elements())),
                kernels<T>().sgd, p.data(), buffers.is_none() ? nullptr : b.data(), s.data(), g.data(), segments,
                settings);
    lists.write_back();
  });
}

void adam(py::handle params, py::handle grads, py::handle exp_avgs, py::handle exp_avg_sqs, py::handle max_exp_avg_sqs,
          py::handle steps, double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled,
          bool maximize) {
  want_finite("adam", "lr", lr);
  if (!(beta1 >= 0 && beta1 < 1)) refuse("adam", "beta1", std::to_string(beta1), "a number in [0, 1)");
  if (!(beta2 >= 0 && beta2 < 1)) refuse("adam", "beta2", std::to_string(beta2), "a number in [0, 1)");
  want_at_least_0("adam", "eps", eps);
  want_finite("adam", "weight_decay", weight_decay);
  by_list_dtype("adam", "params", params, [&](auto zero) {
    using T = decltype(zero);
    Lists lists("adam", "params", params);
    const auto p = lists.written<T>("params", params);
    const auto g = lists.read<T>("grads", grads);
    const auto m = lists.written<T>("exp_avgs", exp_avgs);
    const auto v = lists.written<T>("exp_avg_sqs", exp_avg_sqs);
    std::vector<T*> largest;
    if (!max_exp_avg_sqs.is_none()) largest = lists.written<T>("max_exp_avg_sqs", max_exp_avg_sqs);
    const auto s = lists.counters("steps", steps);
    lists.refuse_overlap();
    const AdamSettings settings{lr, beta1, beta2, eps, weight_decay, decoupled, maximize};
    const Segments segments = lists.segments();
    launch_with(OnInterrupt::finish,
                Work(bytes((max_exp_avg_sqs.is_none() ? 7.0 : 9.0) * sizeof(T) * lists.elements())), kernels<T>().adam,
                p.data(), m.data(), v.data(), max_exp_avg_sqs.is_none() ? nullptr : largest.data(), s.data(), g.data(),
                segments, settings);
    lists.write_back();
  });
}

py::array total_norm(py::handle arrays) {
  return by_list_dtype("total_norm", "arrays", arrays, [&](auto zero) {
    using T = decltype(zero);
    Lists lists("total_norm", "arrays", arrays);
    const auto x = lists.read<T>("arrays", arrays);
    const Segments segments = lists.segments();
    py::array norm = empty<T>("total_norm", {});
    Scratch<double> partials(kernels<T>().total_norm_partials(lists.elements()));
    launch(Work(bytes(double(sizeof(T)) * lists.elements())), kernels<T>().total_norm, data<T>(norm), x.data(),
           segments, static_cast<double*>(partials));
    return norm;
  });
}

py::array clip_grad_norm(py::handle grads, double max_norm) {
  want_at_least_0("clip_grad_norm", "max_norm", max_norm);
  return by_list_dtype("clip_grad_norm", "grads", grads, [&](auto zero) {
    using T = decltype(zero);
    Lists lists("clip_grad_norm", "grads", grads);
    const auto g = lists.written<T>("grads", grads);
    lists.refuse_overlap();
    const Segments segments = lists.segments();
    py::array norm = empty<T>("clip_grad_norm", {});
    Scratch<double> partials(kernels<T>().total_norm_partials(lists.elements()));
    launch_with(OnInterrupt::finish, Work(bytes(3.0 * sizeof(T) * lists.elements())), kernels<T>().clip_grad_norm,
                data<T>(norm), g.data(), segments, max_norm, static_cast<double*>(partials));
    return norm;
  });
}

void clip_grad_value(py::handle grads, double limit) {
  want_at_least_0("clip_grad_value", "limit", limit);
  by_list_dtype("clip_grad_value", "grads", grads, [&](auto zero) {
    using T = decltype(zero);
    Lists lists("clip_grad_value", "grads", grads);
    const auto g = lists.written<T>("grads", grads);
    lists.refuse_overlap();
    const Segments segments = lists.segments();
    launch_with(OnInterrupt::finish, Work(bytes(2.0 * sizeof(T) * lists.elements())), kernels<T>().clip_grad_value,
                g.data(), segments, limit);
  });
}

}  // namespace

BINDINGS(optim) {
  define(m, "sgd", sgd, py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("steps"), py::arg("lr"),
         py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"));
  define(m, "adam", adam, py::arg("params"), py::arg("grads"), py::arg("exp_avgs"), py::arg("exp_avg_sqs"),
         py::arg("max_exp_avg_sqs"), py::arg("steps"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
         py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("maximize"));
  define(m, "total_norm", total_norm, py::arg("arrays"));
  define(m, "clip_grad_norm", clip_grad_norm, py::arg("grads"), py::arg("max_norm"));
  define(m, "clip_grad_value", clip_grad_value, py::arg("grads"), py::arg("limit"));
}

}  // namespace chainrule
