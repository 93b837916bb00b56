// The runtime's clock.
#pragma once
#include <time.h>

#include "types.h"

namespace chainrule {

inline i64 now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return i64(t.tv_sec) * 1000000000 + t.tv_nsec;
}

}  // namespace chainrule
