// Kernels whose elements aren't float and double alone: by what they mean (Dtype), or by their size where they move.
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

// f(U()) with U the element's type; a bool is a byte that is 0 or 1.
template <class F>
CHAINRULE_INLINE void by_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float32:
      return f(float());
    case Dtype::float64:
      return f(double());
    case Dtype::int32:
      return f(i32());
    case Dtype::int64:
      return f(i64());
    case Dtype::uint8:
      return f(uint8_t());
    case Dtype::boolean:
      return f(bool());
  }
}

}  // namespace chainrule::CHAINRULE_ISA
