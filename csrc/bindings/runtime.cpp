// Threads, ISA, memory, build facts.
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/registry.h"
#include "dispatch.h"
#include "runtime/cpus.h"
#include "runtime/pool.h"
#include "runtime/team.h"

namespace chainrule {

BINDINGS(runtime) {
  isa_in_use();  // chosen now: a bad CHAINRULE_ISA is an error at import
  const ThreadCount threads = default_threads();
  set_num_threads(threads.count);
  if (!threads.warning.empty() && PyErr_WarnEx(PyExc_RuntimeWarning, threads.warning.c_str(), 1) < 0)
    throw py::error_already_set();
  define(m, "isa_available", isa_available);
  define(m, "isa_in_use", isa_in_use);
  define(m, "set_isa", set_isa, py::arg("name"));
  define(m, "kernel_names", kernel_names);
  define(m, "get_num_threads", num_threads);
  define(
      m, "set_num_threads",
      [](int n) {
        if (n < 1 || n > kMostThreads)
          refuse("set_num_threads", "n", std::to_string(n), "an integer from 1 to " + std::to_string(kMostThreads));
        set_num_threads(n);
      },
      py::arg("n"));
  define(m, "set_serial_cost", set_serial_cost, py::arg("nanoseconds"));
  define(m, "memory_stats", [] {
    const MemoryStats s = memory_stats();
    py::dict d;
    d["allocated_bytes"] = s.allocated_bytes;
    d["peak_allocated_bytes"] = s.peak_allocated_bytes;
    d["reserved_bytes"] = s.reserved_bytes;
    d["allocations"] = s.allocations;
    d["reuses"] = s.reuses;
    return d;
  });
  define(m, "empty_cache", empty_cache);
  define(m, "build_info", [] {
    py::dict d;
    d["version"] = CHAINRULE_VERSION;
    d["compiler"] = CHAINRULE_COMPILER;
    d["build_type"] = CHAINRULE_BUILD_TYPE;
    d["openmp"] = CHAINRULE_OPENMP;
    d["flags"] = py::str(CHAINRULE_COMMON_FLAGS).attr("strip")();
    py::dict isas;
#define ISA(name, flags) isas[#name] = flags;
    CHAINRULE_ISA_FLAGS
#undef ISA
    d["isas"] = isas;
    return d;
  });
}

}  // namespace chainrule
