#include "bindings/activation.h"

#include "bindings/arrays.h"

namespace chainrule {

Activation activation_named(const char* op, const std::string& name, const char* arg) {
  static constexpr struct {
    const char* name;
    Activation value;
  } kNames[] = {
      {"none", Activation::none},       {"relu", Activation::relu},           {"leaky_relu", Activation::leaky_relu},
      {"gelu", Activation::gelu},       {"gelu_tanh", Activation::gelu_tanh}, {"silu", Activation::silu},
      {"sigmoid", Activation::sigmoid}, {"tanh", Activation::tanh},
  };
  std::string all;
  for (const auto& known : kNames) {
    if (name == known.name) return known.value;
    all += (all.empty() ? "'" : ", '") + std::string(known.name) + "'";
  }
  refuse(op, arg, "'" + name + "'", "one of " + all);
}

}  // namespace chainrule
