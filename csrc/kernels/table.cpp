// This ISA's two tables. Addresses are link-time constants: nothing runs at load.
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

#define KERNEL(name, ...) \
  template <class T>      \
  void name(Team&, __VA_ARGS__);
#define SIZE(name, ...) \
  template <class T>    \
  i64 name(__VA_ARGS__);
#include "kernels.def"

extern const Kernels<float> table_f32;
extern const Kernels<double> table_f64;

const Kernels<float> table_f32 = {
#define KERNEL(name, ...) &name<float>,
#define SIZE(name, ...) &name<float>,
#include "kernels.def"
};

const Kernels<double> table_f64 = {
#define KERNEL(name, ...) &name<double>,
#define SIZE(name, ...) &name<double>,
#include "kernels.def"
};

}  // namespace chainrule::CHAINRULE_ISA
