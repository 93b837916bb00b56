// For tests and measurements alone: the runtime's promises seen from inside a region. Names begin with testing_.
#include <pybind11/stl.h>
#include <time.h>

#include <atomic>
#include <memory>

#include "bindings/launch.h"
#include "bindings/registry.h"
#include "runtime/clock.h"
#include "runtime/cpus.h"
#include "runtime/pool.h"

namespace chainrule {
namespace {

void nap(i64 microseconds) {
  const timespec t = {time_t(microseconds / 1000000), long(microseconds % 1000000 * 1000)};
  nanosleep(&t, nullptr);
}

// Loops of chunks, a barrier after every third; now and then a thread sleeps, so that others steal and wait.
struct Stress {
  i64 loops, chunks, nap_every;
  std::unique_ptr<std::atomic<int>[]> taken;    // [loops][chunks]
  std::atomic<i64> early{0};                    // chunks of a loop that weren't taken when a barrier had been passed
  std::unique_ptr<std::atomic<int>[]> entered;  // [size]: how often by each rank
  std::atomic<int> size{0}, ranks{0}, strangers{0};  // strangers: beyond the size, or here already
};

void stress(Team& team, Stress* s) {
  s->size = team.size();
  s->ranks.fetch_add(1);
  if (team.rank() >= team.size() || s->entered[team.rank()].fetch_add(1) > 0) s->strangers.fetch_add(1);
  for (i64 loop = 0; loop < s->loops; loop++) {
    team.next_loop();
    for (i64 chunk; team.take(s->chunks, &chunk);) {
      s->taken[loop * s->chunks + chunk].fetch_add(1, std::memory_order_relaxed);
      if (s->nap_every && (loop * 31 + chunk * 7 + team.rank()) % s->nap_every == 0) nap(200);
    }
    if (loop % 3 != 2) continue;
    team.barrier();
    for (i64 i = (loop - 2) * s->chunks; i < (loop + 1) * s->chunks; i++)
      if (s->taken[i].load(std::memory_order_relaxed) != 1) s->early.fetch_add(1);
  }
}

py::dict testing_team(int threads, i64 loops, i64 chunks, i64 nap_every) {
  Stress s;
  s.loops = loops, s.chunks = chunks, s.nap_every = nap_every;
  s.taken.reset(new std::atomic<int>[size_t(loops * chunks)]);
  for (i64 i = 0; i < loops * chunks; i++) s.taken[i] = 0;
  s.entered.reset(new std::atomic<int>[size_t(threads)]);
  for (int i = 0; i < threads; i++) s.entered[i] = 0;
  Work work(1e9);
  work.threads = threads;
  launch(work, stress, &s);
  i64 wrong = 0;
  for (i64 i = 0; i < loops * chunks; i++) wrong += s.taken[i] != 1;
  py::dict d;
  d["size"] = s.size.load();
  d["ranks"] = s.ranks.load();
  d["strangers"] = s.strangers.load();
  d["not_taken_once"] = wrong;
  d["barrier_passed_early"] = s.early.load();
  return d;
}

// Works for `milliseconds` on each thread, in chunks of one, and counts the chunks that were begun.
void work_for(Team& team, i64 milliseconds, std::atomic<i64>* begun) {
  team.next_loop();
  for (i64 chunk; team.take(milliseconds * team.size(), &chunk);) {
    begun->fetch_add(1);
    for (const i64 end = now_ns() + 1000000; now_ns() < end;) continue;
  }
  team.barrier();
}

i64 testing_work(i64 milliseconds, int threads, bool interruptible) {
  std::atomic<i64> begun{0};
  Work work(1e6 * double(milliseconds));
  work.threads = threads;
  launch_with(interruptible ? OnInterrupt::stop : OnInterrupt::finish, work, work_for, milliseconds, &begun);
  return begun;
}

void barriers(Team& team, i64 count) {
  for (i64 i = 0; i < count; i++) team.barrier();
}

void loops(Team& team, i64 count) {
  for (i64 i = 0; i < count; i++) {
    team.next_loop();
    for (i64 chunk; team.take(8, &chunk);) continue;
  }
}

// Nanoseconds for a region, a barrier, a loop of eight empty chunks, and a pool block taken and given back.
py::dict testing_costs(int threads, i64 rounds) {
  Work work(0);
  work.threads = threads;
  const auto timed = [&](auto&& f) {
    const i64 start = now_ns();
    f();
    return double(now_ns() - start) / double(rounds);
  };
  launch(work, barriers, i64(1));
  py::dict d;
  d["region"] = timed([&] {
    for (i64 i = 0; i < rounds; i++) launch(work, barriers, i64(0));
  });
  d["barrier"] = timed([&] { launch(work, barriers, rounds); });
  d["loop"] = timed([&] { launch(work, loops, rounds); });
  d["pool"] = timed([&] {
    for (i64 i = 0; i < rounds; i++) pool_release(pool_allocate(4096));
  });
  return d;
}

// Takes and gives back blocks without a pause, the GIL dropped.
void testing_pool(i64 milliseconds) {
  const py::gil_scoped_release release;
  for (const i64 end = now_ns() + 1000000 * milliseconds; now_ns() < end;)
    for (int i = 0; i < 1000; i++) pool_release(pool_allocate(64));
}

}  // namespace

BINDINGS(testing) {
  define(m, "testing_team", testing_team, py::arg("threads"), py::arg("loops"), py::arg("chunks"),
         py::arg("nap_every"));
  define(m, "testing_work", testing_work, py::arg("milliseconds"), py::arg("threads"), py::arg("interruptible"));
  define(m, "testing_costs", testing_costs, py::arg("threads"), py::arg("rounds"));
  define(m, "testing_pool", testing_pool, py::arg("milliseconds"));
  define(m, "testing_set_loop_number", set_loop_number, py::arg("loop"));
  define(m, "testing_set_region_number", set_region_number, py::arg("number"));
  define(m, "testing_leave_cpu", [] {  // the calling thread's CPU before and after it left it
    const int before = current_cpu();
    leave_cpu(before);
    return std::make_pair(before, current_cpu());
  });
  define(m, "testing_usable_cpus", usable_cpus, py::arg("root"));
}

}  // namespace chainrule
