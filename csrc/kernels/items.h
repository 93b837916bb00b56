// Kernels that move elements of any type, by their size.
#pragma once
#include "types.h"

namespace chainrule::CHAINRULE_ISA {

// f(U()) with U an unsigned integer of `item` bytes.
template <class F>
CHAINRULE_INLINE void by_item(i64 item, F&& f) {
  if (item == 8)
    f(u64());
  else if (item == 4)
    f(u32());
  else if (item == 2)
    f(uint16_t());
  else
    f(uint8_t());
}

}  // namespace chainrule::CHAINRULE_ISA
