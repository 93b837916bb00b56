// The team: the threads that run one kernel (SPMD: every thread runs the same function), or one whole recorded step.
// The caller is rank 0 and is always there; the others (workers.h) join when they come to it. A thread that comes late,
// because another process has its core, finds the chunks taken and the barriers passed, and nobody has waited for it.
// So only chunks share work: a loop over rank() would leave out what an absent thread should do.
// Kernels use this header through kernels/loops.h.
#pragma once
#include "types.h"

namespace chainrule {

struct TeamState;  // counters, barrier, stop flag: shared by a region's threads (team.cpp)

// One thread's view of its team. Everything inline here is always_inline: kernels are compiled once per ISA, and a
// merged out-of-line copy could hold another ISA's instructions.
class Team {
 public:
  CHAINRULE_INLINE int rank() const { return rank_; }
  CHAINRULE_INLINE int size() const { return size_; }
  // All threads that have joined meet. Spins briefly, then sleeps. Free for a team of one.
  CHAINRULE_INLINE void barrier() {
    if (size_ > 1) barrier_slow();
  }
  // Takes one of `count` chunks (count < 2^24) of the loop that next_loop() opened: first this thread's own share
  // [rank*count/size, (rank+1)*count/size), then what the others have left. False when none is left, or after an
  // interrupt. Every thread of the team must run the same sequence of loops and barriers.
  // CAUTION: after an interrupt a kernel runs on over chunks that nobody computed. No later chunk is given out once a
  // barrier is passed, but code outside of loops must not use what chunks wrote as an index.
  bool take(i64 count, i64* chunk);
  void next_loop();
  // This thread alone, for work within the region that the others take no part in.
  Team solo() const {
    Team one = *this;
    one.rank_ = 0, one.size_ = 1, one.loop_ = 0, one.serial_ = 0, one.polls_ = false;
    return one;
  }

 private:
  friend struct TeamState;
  void barrier_slow();
  TeamState* state_;
  int rank_;
  int size_;
  u64 loop_;    // the number of the loop that this thread is in, equal on all threads in the same loop
  u32 passed_;  // barriers behind this thread, in this region
  i64 serial_;  // a team of one counts its chunks here
  bool polls_;  // this thread asks for interrupts
};

// The number of threads that `cost` is worth: 1 for small work, at most num_threads(). `cost` is in nanoseconds of
// one thread's work, estimated by the binding (flops / 50 for products, bytes / 16 for streams).
int threads_for(double cost);
// The cost under which work stays on one thread; tests set 0 to run small shapes on many. Negative restores the
// default.
void set_serial_cost(double nanoseconds);

// Runs body(team) on up to `threads` threads, which is the team's size(): on one in a child that was forked after
// threads had run, inside another region of the same thread (a signal handler's), and while another thread's region has
// the workers. On one thread no worker hears of it.
// All of them run in the contract's floating-point environment (dispatch.h); the caller's is as before afterwards.
// Returns false if the run was interrupted (see set_interrupt_check): outputs are then undefined.
enum class Joining {
  any_time,  // for one kernel
  at_start   // for a series of kernels that reuse memory: code outside of loops may read what is gone
};
struct RegionBody {
  void (*call)(void* closure, Team& team);
  void* closure;
  bool interruptible;
  Joining joining = Joining::any_time;
  i64 grace = 0;  // nanoseconds that it waits for threads that are late, if they join at the start; 100 us at least
};
bool run_region(int threads, const RegionBody& body);

constexpr int kMostThreads = 1024;
int num_threads();            // 1 in a child that was forked after threads had run
void set_num_threads(int n);  // 1 <= n <= kMostThreads
// Called on the launching thread at most every 50 ms while an interruptible region runs; true asks the team to stop at
// the next chunk.
void set_interrupt_check(bool (*check)());

// For tests: the numbers of the workers' latest loop and region.
void set_loop_number(u64 loop);
void set_region_number(u32 number);

}  // namespace chainrule
