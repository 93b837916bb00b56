// A recorded step as Python sees it: what must still hold for it to be replayed, what goes in and what comes out.
#include "runtime/recording.h"

#include <pybind11/stl.h>

#include <cstring>

#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"
#include "bindings/structure.h"
#include "runtime/clock.h"

namespace chainrule {

namespace {

py::handle g_missing;

// d[key] must be this very object (or equal, where it is a plain value); no value: the key must be missing.
struct Guard {
  py::dict d;
  py::object key, expected;
  bool or_missing, by_value;
  bool holds() const {
    PyObject* there = PyDict_GetItemWithError(d.ptr(), key.ptr());
    if (there == expected.ptr()) return true;
    if (!there) return or_missing;
    if (!expected || !by_value || Py_TYPE(there) != Py_TYPE(expected.ptr())) return false;
    const int same = PyObject_RichCompareBool(there, expected.ptr(), Py_EQ);
    if (same < 0) PyErr_Clear();
    return same == 1;
  }
};

// What the step leaves in d[key]; no value: nothing.
struct Effect {
  py::dict d;
  py::object key, value;
  void apply() const {
    PyObject* there = PyDict_GetItemWithError(d.ptr(), key.ptr());
    if (there == value.ptr()) return;
    const int failed = value ? PyDict_SetItem(d.ptr(), key.ptr(), value.ptr()) : PyDict_DelItem(d.ptr(), key.ptr());
    if (failed) throw py::error_already_set();
  }
};

// Options of a parameter group, which the nodes of its update hold by value: launched again, without running, when one
// of them is another object than before.
struct Group {
  py::dict options;
  std::vector<std::pair<py::object, py::object>> seen;
  bool changes_in_place;  // some option is a tensor or a list
  py::object update;
  size_t first, count;

  bool same() const {
    if (changes_in_place || size_t(PyDict_Size(options.ptr())) != seen.size()) return false;
    for (const auto& [key, value] : seen)
      if (PyDict_GetItemWithError(options.ptr(), key.ptr()) != value.ptr()) return false;
    return true;
  }
  void look() {
    seen.clear();
    changes_in_place = false;
    for (const auto& [key, value] : options) {
      seen.emplace_back(py::reinterpret_borrow<py::object>(key), py::reinterpret_borrow<py::object>(value));
      if (key.cast<std::string>() == "params") continue;
      for (py::handle part :
           PyTuple_Check(value.ptr()) ? py::reinterpret_borrow<py::tuple>(value) : py::make_tuple(value))
        changes_in_place = changes_in_place || !is_plain(part);
    }
  }
};

using Rows = py::array_t<i64, py::array::c_style>;
using Values = py::array_t<double, py::array::c_style>;
using Rates = std::vector<std::pair<py::dict, double>>;

class RecordedStep {
 public:
  Recording recording;

  // An array from outside that the step uses. The whole of what it is a view of is kept.
  void know(const py::array& a) {
    py::array root = a;
    while (root.base() && py::isinstance<py::array>(root.base())) root = py::reinterpret_borrow<py::array>(root.base());
    const char *first = static_cast<const char*>(root.data()), *end = first + root.itemsize();
    for (int d = 0; d < root.ndim(); d++) {
      if (root.shape(d) == 0) end = first;
      if (root.shape(d) > 0) (root.strides(d) < 0 ? first : end) += (root.shape(d) - 1) * root.strides(d);
    }
    recording.know(first, end);
    kept_.append(root);
  }

  py::array constant(const py::array& a) {
    py::array made = copy_of(a);
    recording.add_constant(const_cast<void*>(made.data()), size_t(made.nbytes()));
    return made;
  }

  // A buffer that holds what `a` holds and lies as it does, filled before each replay.
  py::array input(const py::array& a) {
    py::array made = copy_of(a);
    recording.add_input(const_cast<void*>(made.data()), size_t(made.nbytes()));
    kept_.append(made);
    return made;
  }

  void set_arguments(py::handle arguments, py::handle tensor_type) {
    arguments_ = std::make_unique<Pattern>(arguments, tensor_type);
  }
  void set_result(py::handle result, py::handle tensor_type) {
    result_ = std::make_unique<Result>(result, tensor_type, [this](const void* p) { return recording.owns(p); });
  }
  void set_grad_mode(py::object state) {
    grad_state_ = state;
    grad_mode_ = state.attr("enabled");
  }
  void guard(py::dict d, py::object key, py::object expected, bool or_missing) {
    const bool missing = expected.is(g_missing);
    const bool plain = !missing && is_plain(expected);
    guards_.push_back({d, key, missing ? py::object() : expected, or_missing, plain});
  }
  void guard_length(py::object container, py::ssize_t length) { lengths_.emplace_back(container, length); }
  void effect(py::dict d, py::object key, py::object value) {
    effects_.push_back({d, key, value.is(g_missing) ? py::object() : value});
  }
  void watch(py::dict options, py::object update, size_t first, size_t count) {
    groups_.push_back({options, {}, false, update, first, count});
    groups_.back().look();
    for (size_t i = first; i < first + count; i++) recording.node(i).refreshed = true;
  }

  bool matches(py::handle arguments) {
    if (recording.threads() != num_threads()) return false;
    if (!arguments_->matches(arguments)) return false;
    if (!py::object(grad_state_.attr("enabled")).is(grad_mode_)) return false;
    for (const Guard& g : guards_)
      if (!g.holds()) return false;
    for (const auto& [container, length] : lengths_)
      if (PyObject_Size(container.ptr()) != length) return false;
    for (Group& g : groups_)
      if (!g.same() && !refresh(g)) return false;
    return true;
  }

  py::object replay(py::handle arguments) {
    const Recording::Turn turn(recording);
    inputs_.clear();
    arguments_->collect(arguments, &inputs_);
    for (size_t i = 0; i < inputs_.size(); i++) recording.set_input(i, inputs_[i].data());
    constexpr double kWorthReleasing = 20e3;
    const Node* failed = nullptr;
    if (recording.expected() < kWorthReleasing)
      failed = recording.replay();
    else
      release_gil_and([&] { failed = recording.replay(); });
    if (failed) failed->raise();
    for (const Effect& e : effects_) e.apply();
    return result_->make();
  }

  // Steps over rows of whole arrays: `order` names the rows of one step after another. `factors` (one per step, or
  // empty) multiplies `base`, the learning rates of these groups. Ends after the last step, or after the first that
  // ends when `seconds` have passed; returns the number of steps. The values of a one-element result go into `losses`.
  size_t run(const py::tuple& arrays, const Rows& order, const Values& factors, const Rates& base, Values losses,
             double seconds) {
    const Recording::Turn turn(recording);
    inputs_.clear();
    arguments_->collect(py::make_tuple(arrays, py::dict()), &inputs_);
    const size_t steps = size_t(losses.size()), batch = size_t(order.size()) / steps;
    const std::vector<Rate> rates = factors.size() ? rates_of(base) : std::vector<Rate>();
    const py::array* value = result_->value();
    double* loss = losses.mutable_data();
    const Node* failed = nullptr;
    size_t done = 0;
    release_gil_and([&] {
      for (const i64 until = now_ns() + i64(seconds * 1e9); done < steps && (done == 0 || now_ns() < until); done++) {
        const i64* rows = order.data() + done * batch;
        for (size_t i = 0; i < inputs_.size(); i++) {
          const size_t row_bytes = size_t(inputs_[i].nbytes()) / size_t(inputs_[i].shape(0));
          if (!recording.set_rows(i, inputs_[i].data(), rows, batch, row_bytes))
            throw std::logic_error("the arrays' rows don't fill the recorded step's inputs");
        }
        for (const Rate& r : rates) *r.lr = r.base * factors.data()[done];
        if ((failed = recording.replay())) return;
        if (value)
          loss[done] = value->itemsize() == 8 ? *static_cast<const double*>(value->data())
                                              : double(*static_cast<const float*>(value->data()));
      }
    });
    if (done)
      for (const Effect& e : effects_) e.apply();
    if (failed) failed->raise();
    return done;
  }

  py::object result() const { return result_->make(); }
  const py::list& kept() const { return kept_; }

 private:
  struct Rate {
    double* lr;
    double base;
  };
  std::vector<Rate> rates_of(const Rates& base) {
    std::vector<Rate> rates;
    for (const Group& g : groups_)
      for (const auto& [options, lr] : base) {
        if (!g.options.is(options)) continue;
        for (size_t i = g.first; i < g.first + g.count; i++) {
          Node& node = recording.node(i);
          if (auto* adam = static_cast<AdamSettings*>(node.find(typeid(AdamSettings))))
            rates.push_back({&adam->lr, lr});
          if (auto* sgd = static_cast<SgdSettings*>(node.find(typeid(SgdSettings)))) rates.push_back({&sgd->lr, lr});
        }
      }
    return rates;
  }
  static py::array copy_of(const py::array& a) {
    const Recording::Kept kept;
    py::array made = fresh_array(a.dtype(), shape_of(a), dense_strides(a));
    py::array plain(a.dtype(), std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()),
                    std::vector<py::ssize_t>(made.strides(), made.strides() + made.ndim()), made.data(), made);
    static const py::handle copyto = py::object(py::module_::import("numpy").attr("copyto")).release();
    copyto(plain, a);
    return made;
  }

  bool refresh(Group& g) {
    std::vector<Effect> before;  // the update looks at the gradients that the step leaves
    for (const Effect& e : effects_) {
      PyObject* there = PyDict_GetItemWithError(e.d.ptr(), e.key.ptr());
      before.push_back({e.d, e.key, py::reinterpret_borrow<py::object>(there)});
      e.apply();
    }
    recording.begin_refresh(g.first, g.count);
    bool same = false;
    try {
      g.update(g.options);
      same = recording.finish_refresh();
    } catch (...) {
      recording.finish_refresh();
      for (const Effect& e : before) e.apply();
      throw;
    }
    for (const Effect& e : before) e.apply();
    if (same) g.look();
    return same;
  }

  py::list kept_;
  std::unique_ptr<Pattern> arguments_;
  std::unique_ptr<Result> result_;
  py::object grad_state_, grad_mode_;
  std::vector<Guard> guards_;
  std::vector<std::pair<py::object, py::ssize_t>> lengths_;
  std::vector<Effect> effects_;
  std::vector<Group> groups_;
  std::vector<py::array> inputs_;
};

// The first of the steps that fits is replayed and moves to the front; MISSING where none fits, or while this thread
// records.
py::object replay(py::list steps, py::handle args, py::handle kwargs) {
  if (Recording::active()) return py::reinterpret_borrow<py::object>(g_missing);
  const py::tuple arguments = py::make_tuple(args, kwargs);
  for (size_t i = 0; i < steps.size(); i++) {
    py::object step = steps[i];
    auto& recorded = step.cast<RecordedStep&>();
    if (!recorded.matches(arguments)) continue;
    if (i > 0) {
      steps.attr("pop")(i);
      steps.insert(0, step);
    }
    return recorded.replay(arguments);
  }
  return py::reinterpret_borrow<py::object>(g_missing);
}

}  // namespace

BINDINGS(recording) {
  py::register_exception<RecordingError>(m, "RecordingError", PyExc_RuntimeError);
  g_missing = py::module_::import("builtins").attr("object")().release();
  m.attr("MISSING") = g_missing;
  define(m, "is_recording", [] { return Recording::active() != nullptr; });
  define(m, "replay", replay, py::arg("steps"), py::arg("args"), py::arg("kwargs"));
  py::class_<RecordedStep>(m, "RecordedStep")
      .def(py::init<>())
      .def("begin", [](RecordedStep& s) { s.recording.begin(); })
      .def("end", [](RecordedStep& s) { s.recording.end(); })
      .def(
          "set_fusing", [](RecordedStep& s, bool on) { s.recording.set_fusing(on); }, py::arg("on"))
      .def("pause", [](RecordedStep& s) { s.recording.pause(); })
      .def("resume", [](RecordedStep& s) { s.recording.resume(); })
      .def(
          "owns", [](const RecordedStep& s, const py::array& a) { return s.recording.owns(a.data()); },
          py::arg("array"))
      .def("know", &RecordedStep::know, py::arg("array"))
      .def("constant", &RecordedStep::constant, py::arg("array"))
      .def("input", &RecordedStep::input, py::arg("array"))
      .def("set_arguments", &RecordedStep::set_arguments, py::arg("arguments"), py::arg("tensor_type"))
      .def("set_result", &RecordedStep::set_result, py::arg("result"), py::arg("tensor_type"))
      .def("result", &RecordedStep::result)
      .def(
          "matches", [](RecordedStep& s, const py::tuple& args) { return s.matches(py::make_tuple(args, py::dict())); },
          py::arg("args"))
      .def("run", &RecordedStep::run, py::arg("arrays"), py::arg("order"), py::arg("factors"), py::arg("base"),
           py::arg("losses"), py::arg("seconds"))
      .def("set_grad_mode", &RecordedStep::set_grad_mode, py::arg("state"))
      .def("guard", &RecordedStep::guard, py::arg("d"), py::arg("key"), py::arg("expected"), py::arg("or_missing"))
      .def("guard_length", &RecordedStep::guard_length, py::arg("container"), py::arg("length"))
      .def("effect", &RecordedStep::effect, py::arg("d"), py::arg("key"), py::arg("value"))
      .def("watch", &RecordedStep::watch, py::arg("options"), py::arg("update"), py::arg("first"), py::arg("count"))
      .def("size", [](const RecordedStep& s) { return s.recording.size(); })
      .def("bytes", [](const RecordedStep& s) { return s.recording.bytes(); })
      .def("outside", [](const RecordedStep& s) { return s.kept(); })
      .def("in_parallel", [](const RecordedStep& s) { return s.recording.in_parallel(); })
      .def("expected", [](const RecordedStep& s) { return s.recording.expected(); })
      .def("lines", [](const RecordedStep& s) {
        py::list lines;
        for (const Recording::Line& line : s.recording.lines())
          lines.append(py::make_tuple(line.node->name(), line.node->arguments(), line.node->serial, line.barrier,
                                      line.nanoseconds));
        return lines;
      });
}

}  // namespace chainrule
