#include "runtime/random.h"

#include <utility>

namespace chainrule {

void philox_block(const u32 counter[4], const u32 key[2], u32 words[4]) {
  u32 c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const u64 p0 = u64(0xD2511F53) * c0, p1 = u64(0xCD9E8D57) * c2;
    c0 = u32(p1 >> 32) ^ c1 ^ k0;
    c1 = u32(p1);
    c2 = u32(p0 >> 32) ^ c3 ^ k1;
    c3 = u32(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

namespace {

// Two 64-bit numbers from each block, in the block's order.
class Words64 {
 public:
  explicit Words64(RandomKey key) : key_(key) {}
  u64 operator[](i64 i) {
    if (i / 2 != block_) {
      block_ = i / 2;
      const u32 counter[4] = {u32(block_), u32(u64(block_) >> 32), u32(key_.offset), u32(key_.offset >> 32)};
      const u32 key[2] = {u32(key_.seed), u32(key_.seed >> 32)};
      philox_block(counter, key, words_);
    }
    const u32* w = words_ + 2 * (i % 2);
    return w[0] | u64(w[1]) << 32;
  }

 private:
  RandomKey key_;
  i64 block_ = -1;
  u32 words_[4];
};

// [0, range): the high half of the product. A value's probability is off by at most range / 2^64 of itself.
u64 scale_to(u64 bits, u64 range) { return range ? u64((unsigned __int128)bits * range >> 64) : bits; }

}  // namespace

void random_integers(i64* y, RandomKey key, i64 n, i64 low, u64 range) {
  Words64 words(key);
  for (i64 i = 0; i < n; i++) y[i] = i64(u64(low) + scale_to(words[i], range));
}

void random_permutation(i64* y, RandomKey key, i64 n) {
  Words64 words(key);
  for (i64 i = 0; i < n; i++) y[i] = i;
  for (i64 i = n - 1; i > 0; i--) std::swap(y[i], y[i64(scale_to(words[i], u64(i) + 1))]);
}

}  // namespace chainrule
