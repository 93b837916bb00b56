// What the machine can do at most: for chainrule.peaks().
#include "bindings/launch.h"
#include "bindings/registry.h"
#include "runtime/clock.h"

namespace chainrule {
namespace {

// Operations per second of the whole team, the best of a few runs of some milliseconds.
template <class T>
double multiply_add_rate(int threads) {
  struct Job {
    i64 rounds, chunks;
    std::atomic<i64> done;
  } job{100000, i64(threads) * 16, {0}};
  const RegionBody body = {[](void* closure, Team& team) {
                             Job& j = *static_cast<Job*>(closure);
                             T sink[64 / sizeof(T)];
                             team.next_loop();
                             for (i64 chunk; team.take(j.chunks, &chunk);)
                               j.done += kernels<T>().multiply_add(j.rounds, sink);
                           },
                           &job, false};
  double best = 0;
  for (int run = 0; run < 7; run++) {
    job.done = 0;
    const i64 start = now_ns();
    run_region(threads, body);
    best = std::max(best, 1e9 * double(job.done) / double(now_ns() - start));
  }
  return best;
}

}  // namespace

BINDINGS(peaks) {
  define(
      m, "multiply_add_rate",
      [](bool float64) {
        const py::gil_scoped_release release;
        return float64 ? multiply_add_rate<double>(num_threads()) : multiply_add_rate<float>(num_threads());
      },
      py::arg("float64"));
}

}  // namespace chainrule
