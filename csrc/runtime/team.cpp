#include "runtime/team.h"

#include <omp.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <memory>

#include "dispatch.h"
#include "runtime/cpus.h"
#include "runtime/wait.h"

namespace chainrule {
namespace {

constexpr i64 kMillisecond = 1000000;
constexpr i64 kPollInterval = 50 * kMillisecond;

std::atomic<int> g_threads{0};  // 0: not asked for yet
std::atomic<bool> g_forked{false};
bool (*g_interrupt_check)() = nullptr;

// Measured with 2 threads: a region costs 0.6 to 1 us, and two threads win from 2.6 us (relu, in cache) to
// 3.5 us (random numbers) of one thread's work on. Estimates are high, by 7 for streams that lie in cache and by 2 to 3
// for products, so the break-even lies between estimates of 4 and 20 us; near it little is lost either way. Each
// further thread wants half as much again.
constexpr double kSerialCost = 16e3;
std::atomic<double> g_serial_cost{kSerialCost};

// Cheap (a few ns) and good to 4 ms or better.
i64 coarse_now() {
#ifdef CLOCK_MONOTONIC_COARSE
  constexpr clockid_t clock = CLOCK_MONOTONIC_COARSE;
#else
  constexpr clockid_t clock = CLOCK_MONOTONIC;
#endif
  timespec t;
  clock_gettime(clock, &t);
  return i64(t.tv_sec) * 1000 * kMillisecond + t.tv_nsec;
}

// The next chunk of one thread's share, with the number of the loop that it belongs to above it: a loop's counters need
// no reset, since a number of an earlier loop means "not begun". A thread leaves a loop only when all its chunks are
// taken, so a number of a later loop means "all taken".
constexpr int kIndexBits = 24;
constexpr u64 kIndexMask = (u64(1) << kIndexBits) - 1;
constexpr u64 kLoopLimit = u64(1) << (64 - kIndexBits - 1);  // half of the numbers: no region runs 2^39 loops

struct alignas(64) Share {
  std::atomic<u64> next{0};
};

}  // namespace

struct TeamState {
  std::unique_ptr<Share[]> shares;
  int capacity = 0;
  u64 loop = 0;  // the last number used
  bool busy = false;
  i64 polled = 0;  // when the interrupt check was last asked; 0: not yet in this region
  alignas(64) std::atomic<bool> stopped{false};
  alignas(64) std::atomic<u32> arrived{0};
  Phase phase;

  void prepare(int threads) {
    if (threads > capacity) {
      shares.reset(new Share[threads]);
      capacity = threads;
    }
    if (loop >= kLoopLimit) {
      for (int i = 0; i < capacity; i++) shares[i].next = 0;
      loop = 0;
    }
    stopped.store(false, std::memory_order_relaxed);
    polled = 0;
  }

  Team member(int rank, int size, u64 loop_before, bool polls) {
    Team t;
    t.state_ = this;
    t.rank_ = rank;
    t.size_ = size;
    t.loop_ = loop_before;
    t.serial_ = 0;
    t.polls_ = polls;
    return t;
  }

  static u64 loop_of(const Team& t) { return t.loop_; }

  void poll() {
    const i64 now = coarse_now();
    if (polled == 0) polled = now;
    if (now - polled < kPollInterval) return;
    if (!stopped.load(std::memory_order_relaxed) && g_interrupt_check()) stopped.store(true, std::memory_order_relaxed);
    polled = coarse_now();
  }
};

void Team::next_loop() {
  loop_++;
  serial_ = 0;
}

bool Team::take(i64 count, i64* chunk) {
  if (polls_) state_->poll();
  if (size_ == 1) {
    if (serial_ >= count || state_->stopped.load(std::memory_order_relaxed)) return false;
    *chunk = serial_++;
    return true;
  }
  if (state_->stopped.load(std::memory_order_relaxed)) return false;
  for (int k = 0; k < size_; k++) {
    const int victim = rank_ + k < size_ ? rank_ + k : rank_ + k - size_;
    const u64 begin = u64(victim) * u64(count) / u64(size_), end = u64(victim + 1) * u64(count) / u64(size_);
    std::atomic<u64>& next = state_->shares[victim].next;
    u64 seen = next.load(std::memory_order_relaxed);
    for (;;) {
      const u64 loop = seen >> kIndexBits;
      if (loop > loop_) return false;
      const u64 index = loop == loop_ ? seen & kIndexMask : begin;
      if (index >= end) break;
      // Relaxed: chunks hand over no data; barriers do.
      if (next.compare_exchange_weak(seen, loop_ << kIndexBits | (index + 1), std::memory_order_relaxed)) {
        *chunk = i64(index);
        return true;
      }
    }
  }
  return false;
}

void Team::barrier_slow() {
  Phase& phase = state_->phase;
  const u32 before = phase.now();
  if (state_->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == u32(size_)) {
    state_->arrived.store(0, std::memory_order_relaxed);
    phase.advance();
    return;
  }
  while (!phase.wait(before, kPollInterval))
    if (polls_) state_->poll();
}

int num_threads() {
  if (g_forked.load(std::memory_order_relaxed)) return 1;
  int n = g_threads.load(std::memory_order_relaxed);
  if (n == 0) g_threads = n = default_threads().count;
  return n;
}

void set_num_threads(int n) { g_threads = n; }
void set_interrupt_check(bool (*check)()) { g_interrupt_check = check; }
void set_serial_cost(double nanoseconds) { g_serial_cost = nanoseconds < 0 ? kSerialCost : nanoseconds; }

int threads_for(double cost) {
  const double serial = g_serial_cost.load(std::memory_order_relaxed);
  if (cost < serial) return 1;
  const int most = num_threads();
  return cost < serial / 2 * most ? int(cost / (serial / 2)) : most;
}

namespace {

TeamState& own_state() {
  thread_local TeamState state;
  return state;
}

void run_serial(TeamState& state, const RegionBody& body) {
  const FloatEnvironment fixed;
  Team team = state.member(0, 1, 0, body.interruptible);
  body.call(body.closure, team);
}

void run_parallel(TeamState& state, int threads, const RegionBody& body) {
  // A child of fork lacks OpenMP's threads, and OpenMP doesn't know. Registered when they come to be.
  static const int registered = pthread_atfork(nullptr, nullptr, [] { g_forked = true; });
  (void)registered;
  const u64 before = state.loop;
  u64 after = before;
#pragma omp parallel num_threads(threads)
  {
    const FloatEnvironment fixed;
    const int rank = omp_get_thread_num();  // 0: the caller
    Team team = state.member(rank, omp_get_num_threads(), before, body.interruptible && rank == 0);
    body.call(body.closure, team);
    if (rank == 0) after = TeamState::loop_of(team);
  }
  state.loop = after;
}

}  // namespace

bool run_region(int threads, const RegionBody& given) {
  TeamState& own = own_state();
  RegionBody body = given;
  body.interruptible = given.interruptible && g_interrupt_check;
  if (own.busy) {
    TeamState nested;
    run_serial(nested, body);
    return !nested.stopped;
  }
  if (g_forked.load(std::memory_order_relaxed)) threads = 1;
  own.prepare(threads);
  own.busy = true;
  if (threads <= 1)
    run_serial(own, body);
  else
    run_parallel(own, threads, body);
  own.busy = false;
  return !own.stopped.load(std::memory_order_relaxed);
}

void set_loop_number(u64 loop) { own_state().loop = loop; }

}  // namespace chainrule
