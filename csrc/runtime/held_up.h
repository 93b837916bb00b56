// Marks where the order of events between threads matters most. A thread may be held up anywhere, for as long as
// another process has its core, but tests hardly ever see it between two given instructions. Builds with
// CHAINRULE_DELAYS (those with sanitizers) sleep at the marks now and then, so that they do.
#pragma once

#ifdef CHAINRULE_DELAYS
#include <time.h>

#include <atomic>

#include "types.h"

namespace chainrule {
inline void may_be_held_up() {
  static std::atomic<u32> count{0};
  u32 x = count.fetch_add(1, std::memory_order_relaxed) * 2654435761u;
  x = (x ^ x >> 15) * 2246822519u;
  x ^= x >> 13;
  if (x % 64 != 0) return;
  const timespec nap = {0, long(20000 + (x >> 8) % 400000)};
  nanosleep(&nap, nullptr);
}
}  // namespace chainrule
#else
namespace chainrule {
inline void may_be_held_up() {}
}  // namespace chainrule
#endif
