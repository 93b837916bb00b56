#include "bindings/launch.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <exception>

#include "bindings/registry.h"

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace chainrule {
namespace {

std::atomic<unsigned long> g_main_thread{0};  // Python's, which alone runs signal handlers

// True after Ctrl-C (or when another signal's handler raised): the exception is then set in this thread.
bool signal_raised() {
  if (PyThread_get_thread_ident() != g_main_thread.load(std::memory_order_relaxed)) return false;
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

// Takes the GIL back. While the interpreter exits, a daemon thread gets it no more: Python 3.14 makes the thread hang,
// earlier versions unwind it. Unwinding would run destructors that touch Python objects without the GIL, so it ends
// here: the thread sleeps until the process is gone, as in 3.14.
void take_gil_back(PyThreadState* state) {
#ifdef __GLIBCXX__
  try {
    PyEval_RestoreThread(state);
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
#else
  PyEval_RestoreThread(state);
#endif
}

}  // namespace

void run(const Work& work, const RegionBody& region) {
  // Dropping and taking back the GIL costs 0.1 us, and a wait if another thread took it.
  constexpr double kWorthReleasing = 20e3;
  if (work.cost < kWorthReleasing) {
    run_region(work.threads, {region.call, region.closure, false});  // ends before an interrupt could be noticed
    return;
  }
  PyThreadState* state = PyEval_SaveThread();
  const bool finished = run_region(work.threads, region);
  take_gil_back(state);
  if (!finished) throw py::error_already_set();
}

void release_gil_and(const std::function<void()>& f) {
  PyThreadState* state = PyEval_SaveThread();
  f();
  take_gil_back(state);
}

BINDINGS(launch) {
  g_main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  // In a child the thread that forked is the main one.
  pthread_atfork(nullptr, nullptr, [] { g_main_thread = PyThread_get_thread_ident(); });
  set_interrupt_check(signal_raised);
}

}  // namespace chainrule
