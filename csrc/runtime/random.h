// The host side of the random numbers: generators (a seed and the number of draws so far) and integer draws.
#pragma once
#include <atomic>

#include "types.h"

namespace chainrule {

// Every array drawn takes one offset, so that arrays don't share numbers; an array's elements are counted in the
// kernel.
class Generator {
 public:
  explicit Generator(u64 seed) : seed_(seed) {}
  RandomKey next() { return {seed_.load(), offset_.fetch_add(1)}; }
  RandomKey state() const { return {seed_.load(), offset_.load()}; }
  void set_state(RandomKey state) {
    seed_ = state.seed;
    offset_ = state.offset;
  }

 private:
  std::atomic<u64> seed_;
  std::atomic<u64> offset_{0};
};

// One block of Philox 4x32-10: the specification that kernels/philox.h computes eight at a time.
void philox_block(const u32 counter[4], const u32 key[2], u32 words[4]);

// y[i] uniform in [low, low + range), from the 64-bit element i; range = 0 stands for 2^64.
void random_integers(i64* y, RandomKey key, i64 n, i64 low, u64 range);
// A uniformly random permutation of 0..n-1 (Fisher-Yates, one 64-bit element a swap).
void random_permutation(i64* y, RandomKey key, i64 n);

}  // namespace chainrule
