// The `activation` argument of the bindings whose kernels have an epilogue.
#pragma once
#include <pybind11/pybind11.h>

#include "types.h"

namespace chainrule {

// From its name, the argument `arg`; refuses any other.
Activation activation_named(const char* op, pybind11::handle name, const char* arg = "activation");

}  // namespace chainrule
