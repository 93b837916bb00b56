// The pool: 64-byte aligned blocks in size classes, kept for reuse (a fresh large block costs page faults on every
// step), huge pages for large ones. Safe from any thread, and in a child after fork.
#pragma once
#include <cstddef>

#include "types.h"

namespace chainrule {

void* pool_allocate(size_t bytes);  // std::bad_alloc when the system has no more; bytes = 0 gives a valid pointer
void pool_release(void* block);     // back to the pool; nullptr is ignored

struct MemoryStats {
  i64 allocated_bytes;       // handed out now, in size classes
  i64 peak_allocated_bytes;  // the most that ever was
  i64 reserved_bytes;        // taken from the system: handed out and kept
  i64 allocations;           // calls of pool_allocate
  i64 reuses;                // of those, served by a kept block
};
MemoryStats memory_stats();
void empty_cache();  // gives all kept blocks back to the system

}  // namespace chainrule
