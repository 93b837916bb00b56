#include "bindings/activation.h"

#include <string_view>

#include "bindings/arrays.h"

namespace chainrule {
namespace {

constexpr struct {
  std::string_view name;
  Activation value;
} kNames[] = {
    {"none", Activation::none},       {"relu", Activation::relu},           {"leaky_relu", Activation::leaky_relu},
    {"gelu", Activation::gelu},       {"gelu_tanh", Activation::gelu_tanh}, {"silu", Activation::silu},
    {"sigmoid", Activation::sigmoid}, {"tanh", Activation::tanh},
};

}  // namespace

Activation activation_named(const char* op, py::handle name, const char* arg) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_Check(name.ptr()) ? PyUnicode_AsUTF8AndSize(name.ptr(), &size) : nullptr;
  if (!text) {
    PyErr_Clear();  // of a string that UTF-8 can't hold
    refuse_type(op, arg, py::repr(name), "a string");
  }
  for (const auto& known : kNames)
    if (known.name == std::string_view(text, size_t(size))) return known.value;
  std::string all;
  for (const auto& known : kNames) all += (all.empty() ? "'" : ", '") + std::string(known.name) + "'";
  refuse(op, arg, "'" + std::string(text, size_t(size)) + "'", "one of " + all);
}

}  // namespace chainrule
