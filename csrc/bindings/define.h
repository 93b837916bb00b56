// define(m, "linear", linear, py::arg("x"), ...) is m.def(...), but a call that gives every argument by position, as
// those of chainrule.kernels do, goes straight to the function, which saves 30 ns with two arguments and 110 with nine.
// pybind11's own function takes all others: those with keywords, with arguments left out, or of other types.
#pragma once
#include <pybind11/pybind11.h>
#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

#include <tuple>
#include <utility>

namespace chainrule {

template <class Result, class... Arguments>
class Direct {
 public:
  Direct(const char* name, Result (*function)(Arguments...), pybind11::object general)
      : function_(function), general_(general.release().ptr()) {
    method_ = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL | METH_KEYWORDS,
               PyUnicode_AsUTF8(pybind11::object(pybind11::handle(general_).attr("__doc__")).release().ptr())};
  }
  PyMethodDef* method() { return &method_; }

 private:
  static PyObject* call(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
    const auto& direct = *static_cast<const Direct*>(PyCapsule_GetPointer(self, nullptr));
    std::tuple<pybind11::detail::make_caster<Arguments>...> casters;
    constexpr auto all = std::index_sequence_for<Arguments...>();
    if (keywords || count != Py_ssize_t(sizeof...(Arguments)) || !load(casters, arguments, all))
      return PyObject_Vectorcall(direct.general_, arguments, size_t(count), keywords);
    try {
      return direct.run(casters, all);
    } catch (pybind11::error_already_set& error) {
      error.restore();
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind&) {
      throw;  // of a thread that the interpreter's end stops
#endif
    } catch (...) {
      pybind11::detail::try_translate_exceptions();
    }
    return nullptr;
  }

  template <class Casters, size_t... I>
  static bool load(Casters& casters, PyObject* const* arguments, std::index_sequence<I...>) {
    return (std::get<I>(casters).load(arguments[I], true) && ...);
  }

  template <class Casters, size_t... I>
  PyObject* run(Casters& casters, std::index_sequence<I...>) const {
    using pybind11::detail::cast_op;
    if constexpr (std::is_void_v<Result>) {
      function_(cast_op<Arguments>(std::move(std::get<I>(casters)))...);
      return pybind11::none().release().ptr();
    } else {
      return pybind11::detail::make_caster<Result>::cast(
                 function_(cast_op<Arguments>(std::move(std::get<I>(casters)))...), pybind11::return_value_policy::move,
                 {})
          .ptr();
    }
  }

  Result (*function_)(Arguments...);
  PyObject* general_;  // as the rest, for as long as the process lasts
  PyMethodDef method_;
};

template <class Result, class... Arguments, class... Extra>
void define(pybind11::module_& m, const char* name, Result (*function)(Arguments...), const Extra&... extra) {
  m.def(name, function, extra...);
  auto* const direct = new Direct<Result, Arguments...>(name, function, m.attr(name));
  const pybind11::capsule self(direct);
  PyObject* const callable = PyCFunction_NewEx(direct->method(), self.ptr(), m.attr("__name__").ptr());
  if (!callable) throw pybind11::error_already_set();
  m.attr(name) = pybind11::reinterpret_steal<pybind11::object>(callable);
}

// Of a lambda without captures.
template <class Lambda, class... Extra, class = decltype(+std::declval<Lambda>())>
void define(pybind11::module_& m, const char* name, Lambda lambda, const Extra&... extra) {
  define(m, name, +lambda, extra...);
}

}  // namespace chainrule
