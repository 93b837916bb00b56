#pragma once
#include "bindings/define.h"

namespace chainrule {

// A link of the list that module.cpp walks; one static object per bindings/<family>.cpp.
struct Binder {
  explicit Binder(void (*f)(pybind11::module_&)) : bind(f), next(first()) { first() = this; }
  void (*bind)(pybind11::module_&);
  Binder* next;
  static Binder*& first();
};

}  // namespace chainrule

// BINDINGS(pool) { define(m, ...); }
#define BINDINGS(family)                                   \
  static void bind_##family(pybind11::module_& m);         \
  static chainrule::Binder binder_##family(bind_##family); \
  static void bind_##family([[maybe_unused]] pybind11::module_& m)
