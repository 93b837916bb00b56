// The memory of one recorded step: blocks that are given back while it is recorded serve its later kernels, so that the
// recording is its own memory plan. Lives as long as its last block, or its last `hold`.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "types.h"

namespace chainrule {

class Arena {
 public:
  // Where the calling thread's new blocks come from while it records; null: the pool.
  static Arena* current();
  static void set_current(Arena* arena);

  static Arena* make() { return new Arena; }  // held once
  void hold();
  void drop();

  void* allocate(size_t bytes);
  void release(void* block);  // from any thread
  // Blocks that are asked for in between serve nothing else, neither before nor after: replays find what is in them.
  void keep(bool on) { keeping_ = on; }
  // Blocks that are given back are no longer used again: the recording is complete.
  void close();

  struct Extent {
    const char *begin, *end;
    i64 number = 0;  // of the block, from 1: an address may be another block's later; 0 for memory from outside
  };
  // The block in use that holds this address: false where there is none.
  bool find(const void* address, Extent* extent) const;
  i64 bytes() const;  // taken from the pool

 private:
  Arena() = default;
  ~Arena();
  struct Block {
    size_t bytes;
    bool kept;
    i64 number;
  };
  char* fit(std::map<char*, size_t>& pieces, size_t bytes);
  void add_slab(std::map<char*, size_t>& pieces, size_t bytes);

  mutable std::mutex mutex_;
  std::vector<void*> slabs_;
  std::map<char*, size_t> free_;   // by address, neighbours joined
  std::map<char*, size_t> fresh_;  // for blocks to keep: memory that was never used
  std::map<char*, Block> used_;
  i64 total_ = 0;
  i64 holds_ = 1, blocks_ = 0;
  bool closed_ = false, keeping_ = false;
};

}  // namespace chainrule
