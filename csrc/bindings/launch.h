// From a checked call to a running kernel: chooses the threads, drops the GIL, answers Ctrl-C.
#pragma once
#include <pybind11/pybind11.h>

#include <functional>
#include <tuple>
#include <type_traits>

#include "kernels.h"
#include "runtime/recording.h"

namespace chainrule {

namespace py = pybind11;

// How much work a call is, in nanoseconds of one thread; fixes the number of threads once, so that scratch sized by
// `threads` is enough for the launch.
struct Work {
  explicit Work(double nanoseconds) : cost(nanoseconds), threads(threads_for(nanoseconds)) {
    // A replay runs each kernel on one thread or on all.
    if (const Recording* r = threads > 1 ? Recording::active() : nullptr) threads = r->threads();
  }
  double cost;
  int threads;
};
inline Work on_one_thread(double nanoseconds) {
  Work work(nanoseconds);
  work.threads = 1;
  return work;
}
inline double flops(double n) { return n / 50; }  // products: 50 GFLOP/s a thread
inline double bytes(double n) { return n / 16; }  // passes over memory: 16 GB/s a thread

// f() without the GIL; f doesn't throw.
void release_gil_and(const std::function<void()>& f);

enum class OnInterrupt { stop, finish };  // finish: for kernels that update state in place (optimizers)

// Runs `region` with the GIL released when the work is worth it; raises KeyboardInterrupt if it was interrupted.
void run(const Work& work, const RegionBody& region);

template <class A>
using Carried = std::conditional_t<sizeof(A) <= 16 && std::is_trivially_copyable_v<A>, A, const A&>;

template <class... Params, class... Args>
void launch_with(OnInterrupt on_interrupt, const Work& work, void (*kernel)(Team&, Params...), const Args&... args) {
  if (Recording* recording = Recording::active()) {
    auto node = std::make_unique<KernelNode<Params...>>(kernel, args...);
    node->cost = work.cost;
    node->serial = work.threads == 1;
    if (!recording->add(std::move(node))) return;
  }
  // By value where they are small: the workers get the arguments in two lines, not from all over this thread's stack.
  alignas(64) auto body = [kernel, held = std::tuple<Carried<Args>...>(args...)](Team& team) {
    std::apply([&](const auto&... given) { kernel(team, given...); }, held);
  };
  using Body = decltype(body);
  run(work, {[](void* closure, Team& team) { (*static_cast<Body*>(closure))(team); }, &body,
             on_interrupt == OnInterrupt::stop});
}

template <class... Params, class... Args>
void launch(const Work& work, void (*kernel)(Team&, Params...), const Args&... args) {
  launch_with(OnInterrupt::stop, work, kernel, args...);
}

}  // namespace chainrule
