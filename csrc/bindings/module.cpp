// The module. Each bindings/<family>.cpp adds its functions through BINDINGS(family); no list of families is kept here.
#include <pybind11/pybind11.h>

#include "bindings/registry.h"

namespace chainrule {

Binder*& Binder::first() {
  static Binder* head = nullptr;
  return head;
}

}  // namespace chainrule

PYBIND11_MODULE(_core, m) {
  m.doc() = "chainrule's compiled kernels and runtime; use chainrule.kernels";
  for (chainrule::Binder* b = chainrule::Binder::first(); b; b = b->next) b->bind(m);
}
