#include "runtime/team.h"

#include <omp.h>
#include <sched.h>

#include <atomic>

namespace chainrule {
namespace {
int g_threads = 0;
bool (*g_interrupt)() = nullptr;
constexpr int kIndexBits = 24;
}  // namespace

struct TeamState {
  alignas(64) std::atomic<u64> next[256];
  alignas(64) std::atomic<u32> arrived{0};
  alignas(64) std::atomic<u32> phase{0};
  u64 loop = 0;
  static Team make(TeamState* s, int rank, int size) {
    Team t;
    t.state_ = s;
    t.rank_ = rank;
    t.size_ = size;
    t.loop_ = s->loop;
    t.serial_ = 0;
    return t;
  }
  static u64 loop_of(const Team& t) { return t.loop_; }
};

void Team::next_loop() {
  loop_++;
  serial_ = 0;
}

bool Team::take(i64 count, i64* chunk) {
  if (size_ == 1) {
    if (serial_ >= count) return false;
    *chunk = serial_++;
    return true;
  }
  for (int k = 0; k < size_; k++) {
    const int victim = (rank_ + k) % size_;
    const u64 begin = u64(victim) * u64(count) / u64(size_), end = u64(victim + 1) * u64(count) / u64(size_);
    u64 seen = state_->next[victim].load(std::memory_order_relaxed);
    for (;;) {
      const u64 loop = seen >> kIndexBits;
      if (loop > loop_) return false;
      const u64 index = loop == loop_ ? seen & ((u64(1) << kIndexBits) - 1) : begin;
      if (index >= end) break;
      if (state_->next[victim].compare_exchange_weak(seen, (loop_ << kIndexBits) | (index + 1))) {
        *chunk = i64(index);
        return true;
      }
    }
  }
  return false;
}

void Team::barrier_slow() {
  const u32 phase = state_->phase.load();
  if (state_->arrived.fetch_add(1) + 1 == u32(size_)) {
    state_->arrived.store(0);
    state_->phase.store(phase + 1);
    return;
  }
  for (int spins = 0; state_->phase.load() == phase; spins++)
    if (spins > 1000) sched_yield();
}

int num_threads() { return g_threads ? g_threads : omp_get_max_threads(); }
void set_num_threads(int n) { g_threads = n; }
void set_interrupt_check(bool (*check)()) { g_interrupt = check; }

double g_serial_cost = 20e3;
void set_serial_cost(double ns) { g_serial_cost = ns < 0 ? 20e3 : ns; }
int threads_for(double cost) { return cost < g_serial_cost ? 1 : num_threads(); }

bool run_region(int threads, const RegionBody& body) {
  thread_local TeamState* own = new TeamState();
  TeamState* const state = own;
  if (threads <= 1) {
    Team t = TeamState::make(state, 0, 1);
    body.call(body.closure, t);
    return true;
  }
#pragma omp parallel num_threads(threads)
  {
    Team t = TeamState::make(state, omp_get_thread_num(), omp_get_num_threads());
    body.call(body.closure, t);
#pragma omp barrier
#pragma omp master
    state->loop = TeamState::loop_of(t);
  }
  return true;
}

}  // namespace chainrule
