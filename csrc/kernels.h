// Expands kernels.def into a table of function pointers, and gives the table chosen at import.
#pragma once
#include "runtime/team.h"
#include "types.h"

namespace chainrule {

template <class T>
struct Kernels {
#define KERNEL(name, ...) void (*name)(Team&, __VA_ARGS__);
#define SIZE(name, ...) i64 (*name)(__VA_ARGS__);
#include "kernels.def"
};

// The table of the ISA in use, for T = float or double.
template <class T>
const Kernels<T>& kernels();

}  // namespace chainrule
