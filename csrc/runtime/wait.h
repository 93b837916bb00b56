// A counter that threads wait on: they spin for about as long as waking a sleeper takes, then sleep.
#pragma once
#include <atomic>

#include "types.h"

namespace chainrule {

class Phase {
 public:
  u32 now() const { return value_.load(std::memory_order_acquire); }
  void advance();  // by one thread; the others see what it wrote before
  void set(u32 value) { value_.store(value, std::memory_order_release); }  // wakes nobody
  // Until now() != before, or `nanoseconds` have passed. Spins for `spin` nanoseconds at first; true if it slept then.
  bool wait(u32 before, i64 nanoseconds, i64 spin = kSpin);

  // Sleeping and being woken costs 5 to 50 us, on a virtual machine up to 100: spinning that long, a late thread costs
  // at most twice what it must. With 30 us, two threads that once slept made each other late, and so sleep, for 50 ms.
  static constexpr i64 kSpin = 100000;

 private:
  std::atomic<u32> value_{0};
  std::atomic<u32> sleepers_{0};
};

}  // namespace chainrule
