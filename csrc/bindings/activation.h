// The `activation` argument of the bindings whose kernels have an epilogue.
#pragma once
#include <string>

#include "types.h"

namespace chainrule {

// From its name in Python, argument `arg`; refuses any other.
Activation activation_named(const char* op, const std::string& name, const char* arg = "activation");

}  // namespace chainrule
