// The module. Each bindings/<family>.cpp adds its functions through BINDINGS(family); no list of families is kept here.
#include <pybind11/numpy.h>

#include "bindings/registry.h"

namespace chainrule {

Binder*& Binder::first() {
  static Binder* head = nullptr;
  return head;
}

}  // namespace chainrule

PYBIND11_MODULE(_core, m) {
  m.doc() = "chainrule's compiled kernels and runtime; use chainrule.kernels";
  // Looks up NumPy's API now: a thread that waited for the first use of it, the GIL dropped, couldn't be unwound when
  // the interpreter exits, and the process would abort.
  pybind11::detail::npy_api::get();
  for (chainrule::Binder* b = chainrule::Binder::first(); b; b = b->next) b->bind(m);
}
