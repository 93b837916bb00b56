#include "runtime/team.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "dispatch.h"
#include "runtime/clock.h"
#include "runtime/cpus.h"
#include "runtime/held_up.h"
#include "runtime/wait.h"
#include "runtime/workers.h"

namespace chainrule {
namespace {

constexpr i64 kMillisecond = 1000000;
constexpr i64 kPollInterval = 50 * kMillisecond;
constexpr i64 kForever = i64(1) << 61;

std::atomic<int> g_threads{0};  // 0: not asked for yet
std::atomic<bool> g_forked{false};
bool (*g_interrupt_check)() = nullptr;

// Measured with 2 threads: a region costs 0.13 us when the workers are awake (1 to 2 us where the cores share no
// cache), and a chunk's data come from the other core's cache at 0.1 us per KB. Estimates are high, by 4 for streams
// that lie in cache and by 2 to 3 for products, so an estimate of 6 us is 1.5 to 3 us of work. Each further thread
// wants half as much again.
constexpr double kSerialCost = 6e3;
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

// Who is in a region, in one word, so that joining, meeting and closing exclude each other. The region's size is in it
// too: a worker that was held up between two looks must not take the next region, a smaller one, for the one before.
struct Members {
  u64 word;
  static constexpr u64 kArrived = 1, kJoined = u64(1) << 11, kSize = u64(1) << 22, kOpen = u64(1) << 33,
                       kPassed = u64(1) << 34;
  static constexpr u64 kOpened = kOpen + kJoined;         // with the caller alone, beside the size
  u32 arrived() const { return u32(word) & 0x7FF; }       // at the barrier that is next
  u32 joined() const { return u32(word >> 11) & 0x7FF; }  // the caller counts
  int size() const { return int(word >> 22) & 0x7FF; }
  bool open() const { return word & kOpen; }
  u32 passed() const { return u32(word >> 34); }  // barriers; a region meets at fewer than 2^30
};
static_assert(kMostThreads <= 0x7FF, "fields hold a count of threads");

// Fields lie by who writes them: a line that another core has written takes 50 ns to come, from another cache 200, and
// a region of a few us waits for each.
struct TeamState {
  // Read by all, seldom written.
  alignas(64) std::unique_ptr<Share[]> shares;
  int capacity = 0;
  std::atomic<bool> stopped{false};
  // The caller's own.
  alignas(64) u64 loop = 0;  // the last number used
  bool busy = false;
  i64 polled = 0;  // when the interrupt check was last asked; 0: not yet in this region
  // Who is there.
  alignas(64) std::atomic<u64> members{0};
  std::atomic<u32> left{0};  // workers that have joined and are done
  std::atomic<int> cpu{-1};  // the caller's
  Phase phase;               // moves when a barrier is passed, when a thread leaves; when one joins that is waited for

  void prepare(int threads) {
    if (threads > capacity) {
      shares.reset(new Share[threads]);
      capacity = threads;
    }
    if (loop >= kLoopLimit) {
      for (int i = 0; i < capacity; i++) shares[i].next = 0;
      loop = 0;
    }
    if (stopped.load(std::memory_order_relaxed)) stopped.store(false, std::memory_order_relaxed);
    polled = 0;
  }

  Team member(int rank, int size, u64 loop_before, bool polls) {
    Team t;
    t.state_ = this;
    t.rank_ = rank;
    t.size_ = size;
    t.loop_ = loop_before;
    t.passed_ = 0;
    t.serial_ = 0;
    t.polls_ = polls;
    return t;
  }

  // The kernel may wake a thread where its waker runs. Two that meet at barriers then share a CPU for 50 ms before they
  // are moved apart: a replay of 0.65 ms took 2.7 until then. So who has slept looks where the caller is.
  void part(const Team& t) {
    if (t.rank_ == 0)
      cpu.store(current_cpu(), std::memory_order_relaxed);
    else
      leave_cpu(cpu.load(std::memory_order_relaxed));
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
  std::atomic<u64>& members = state_->members;
  const u32 mine = passed_++;
  Members now{members.load(std::memory_order_acquire)};
  while (now.passed() == mine) {
    const bool last = now.arrived() + 1 == now.joined();
    const u64 next = last ? now.word + Members::kPassed - now.arrived() : now.word + Members::kArrived;
    if (!members.compare_exchange_weak(now.word, next, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    may_be_held_up();
    if (last) return state_->phase.advance();
    break;
  }
  for (;;) {
    const u32 before = state_->phase.now();
    if (Members{members.load(std::memory_order_acquire)}.passed() > mine) return;
    if (state_->phase.wait(before, kPollInterval)) state_->part(*this);
    if (polls_) state_->poll();
  }
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

// The region that the workers are called to. One at a time; never destroyed, for they outlive the module's statics.
struct Call {
  std::atomic<bool> taken{false};
  TeamState state;
  // What a worker needs to begin, in the line that it waits on.
  alignas(64) Phase begun;
  u32 number = 0;  // of the region
  std::atomic<int> size{0};
  u64 loop_before;
  RegionBody body;
  // Workers that no region has wanted for long sleep here, that they aren't woken for every one.
  alignas(64) Phase grown;
  std::atomic<int> least_parked{kMostThreads};  // rank
};
static_assert(sizeof(RegionBody) + sizeof(Phase) + 16 <= 64, "one line");  // from begun to body
Call& the_call() {
  static Call* const call = new Call;
  return *call;
}

// The size of the region that the worker has joined, or 0.
int join(Call& call, int rank) {
  // A guess, that spares a look: the caller is alone.
  Members now{Members::kOpened + u64(call.size.load(std::memory_order_relaxed)) * Members::kSize};
  while (now.open() && rank < now.size()) {
    may_be_held_up();
    if (call.state.members.compare_exchange_weak(now.word, now.word + Members::kJoined, std::memory_order_acq_rel,
                                                 std::memory_order_acquire))
      return now.size();
  }
  return 0;
}

// Until a region is large enough for this worker.
void park(Call& call, int rank) {
  for (;;) {
    const u32 before = call.grown.now();
    int least = call.least_parked;
    while (rank < least && !call.least_parked.compare_exchange_weak(least, rank)) continue;
    may_be_held_up();
    if (rank < call.size) return;
    call.grown.wait(before, kForever, 0);
  }
}

// A worker's life. Between two kernels of a training step lie some 10 us of Python: it waits awake for longer than
// that.
void serve(int rank) {
  constexpr i64 kAwake = 200000, kPatience = 20 * kMillisecond;
  constexpr int kMostUnwanted = 500;  // regions in a row: sizes change from kernel to kernel
  Call& call = the_call();
  const FloatEnvironment fixed;
  int unwanted = 0;
  for (u32 seen = 0;;) {
    // A region may be joined before its beginning is told: `seen` is one ahead then, and joining it again would be
    // wrong. No order is asked for: numbers pass 2^32 in hours, and this thread may have come late or slept.
    u32 now = call.begun.now();
    for (; now == seen || now == seen - 1; now = call.begun.now()) call.begun.wait(now, kForever, kAwake);
    seen = now;
    const int size = join(call, rank);
    if (!size && rank >= call.size.load(std::memory_order_relaxed)) {
      if (++unwanted >= kMostUnwanted) park(call, rank), unwanted = 0;
      continue;
    }
    unwanted = 0;
    if (!size) {
      // Too late for a region that is closed. Asleep when it ends, this thread would be late for the next one too.
      const i64 until = now_ns() + kPatience;
      while (rank < call.size.load(std::memory_order_relaxed) && call.taken.load(std::memory_order_relaxed) &&
             call.begun.now() == seen && now_ns() < until)
        cpu_relax();
      continue;
    }
    may_be_held_up();
    seen = call.number;  // a region that began since then, perhaps
    Team team = call.state.member(rank, size, call.loop_before, false);
    call.state.part(team);
    if (call.body.joining == Joining::at_start) call.state.phase.advance();
    call.body.call(call.body.closure, team);
    may_be_held_up();
    call.state.left.fetch_add(1, std::memory_order_acq_rel);
    call.state.phase.advance();
  }
}

// Until done(), or `nanoseconds` have passed. No interrupts are asked for: a chunk that has begun is finished.
template <class Done>
void await(Call& call, i64 nanoseconds, Done&& done) {
  for (int i = 0; i < 64; i++) {
    if (done()) return;
    cpu_relax();
  }
  const i64 until = nanoseconds + now_ns();
  for (;;) {
    const u32 before = call.state.phase.now();
    const i64 left = until - now_ns();
    if (done() || left <= 0) return;
    if (call.state.phase.wait(before, left)) call.state.cpu.store(current_cpu(), std::memory_order_relaxed);
  }
}

void run_parallel(Call& call, int threads, const RegionBody& body) {
  constexpr i64 kLeastGrace = 100000;
  TeamState& state = call.state;
  state.prepare(threads);
  call.body = body;
  call.size.store(threads, std::memory_order_relaxed);
  call.loop_before = state.loop;
  call.number = call.begun.now() + 1;
  state.cpu.store(current_cpu(), std::memory_order_relaxed);
  state.left.store(0, std::memory_order_relaxed);
  state.members.store(Members::kOpened + u64(threads) * Members::kSize, std::memory_order_release);
  may_be_held_up();
  call.begun.advance();
  // A full fence, so either the caller finds that a worker is parked, or the worker finds the new size.
  if (threads > call.least_parked.load()) {
    call.least_parked = kMostThreads;
    call.grown.advance();
  }

  const auto joined = [&] { return int(Members{state.members.load(std::memory_order_acquire)}.joined()); };
  const auto close = [&] { state.members.fetch_and(~Members::kOpen, std::memory_order_acq_rel); };
  if (body.joining == Joining::at_start) {
    await(call, std::max(kLeastGrace, body.grace), [&] { return joined() == threads; });
    close();
  }
  {
    const FloatEnvironment fixed;
    Team team = state.member(0, threads, state.loop, body.interruptible);
    body.call(body.closure, team);
    state.loop = TeamState::loop_of(team);
  }
  may_be_held_up();
  close();
  const u32 workers = u32(joined()) - 1;
  await(call, kForever, [&] { return state.left.load(std::memory_order_acquire) == workers; });
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
  // A child of fork lacks the workers. Registered when they come to be.
  Call* const call = threads > 1 && !g_forked.load(std::memory_order_relaxed) ? &the_call() : nullptr;
  const bool alone = !call || call->taken.exchange(true, std::memory_order_acquire);
  own.busy = true;
  bool finished;
  if (alone) {
    own.prepare(1);
    run_serial(own, body);
    finished = !own.stopped.load(std::memory_order_relaxed);
  } else {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { g_forked = true; });
    (void)registered;
    call_workers(threads - 1, serve);
    run_parallel(*call, threads, body);
    finished = !call->state.stopped.load(std::memory_order_relaxed);
    call->taken.store(false, std::memory_order_release);
  }
  own.busy = false;
  return finished;
}

void set_loop_number(u64 loop) { the_call().state.loop = loop; }
void set_region_number(u32 number) { the_call().begun.set(number); }

}  // namespace chainrule
