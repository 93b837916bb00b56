#include "runtime/wait.h"

#include <time.h>

#include "dispatch.h"
#include "runtime/clock.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#endif

namespace chainrule {
namespace {

// Sleeps while *value == expected; may return early.
void sleep_on(std::atomic<u32>& value, u32 expected, i64 nanoseconds) {
#ifdef __linux__
  const timespec timeout = {time_t(nanoseconds / 1000000000), long(nanoseconds % 1000000000)};
  syscall(SYS_futex, reinterpret_cast<u32*>(&value), FUTEX_WAIT_PRIVATE, expected, &timeout, nullptr, 0);
#else
  (void)value, (void)expected, (void)nanoseconds;
  const timespec nap = {0, 50000};
  nanosleep(&nap, nullptr);
#endif
}

void wake_all([[maybe_unused]] std::atomic<u32>& value) {
#ifdef __linux__
  syscall(SYS_futex, reinterpret_cast<u32*>(&value), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#endif
}

}  // namespace

// Sequentially consistent on both sides: either advance() sees the sleeper, or the sleeper sees the new value.
void Phase::advance() {
  value_.fetch_add(1);
  if (sleepers_.load()) wake_all(value_);
}

bool Phase::wait(u32 before, i64 nanoseconds, i64 spin) {
  for (int i = 0; i < 64; i++) {
    if (now() != before) return false;
    cpu_relax();
  }
  const i64 start = now_ns();
  for (i64 t = start; t - start < spin; t = now_ns())
    for (int i = 0; i < 16; i++) {
      if (now() != before) return false;
      cpu_relax();
    }
  sleepers_.fetch_add(1);
  while (value_.load() == before) {
    const i64 left = start + nanoseconds - now_ns();
    if (left <= 0) break;
    sleep_on(value_, before, left);
  }
  sleepers_.fetch_sub(1);
  return true;
}

}  // namespace chainrule
