#include "bindings/launch.h"

namespace chainrule {

void run(const Work& work, const RegionBody& region) {
  constexpr double kWorthReleasing =
      20e3;  // dropping and taking back the GIL costs 0.1 us, and a wait if another thread took it
  if (work.cost < kWorthReleasing) {
    run_region(work.threads, region);
    return;
  }
  // Not a destructor: in Python before 3.14, taking the GIL back while the interpreter exits unwinds this thread.
  PyThreadState* state = PyEval_SaveThread();
  const bool finished = run_region(work.threads, region);
  PyEval_RestoreThread(state);
  if (!finished) throw py::error_already_set();
}

}  // namespace chainrule
