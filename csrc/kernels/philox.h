// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), eight blocks at a time.
//
// A block is four 32-bit words, a function of a 128-bit counter (block number, offset) and a 64-bit key (seed). Element
// i of an array depends on (seed, offset, i) alone. The order of words is the one that needs no shuffles: a group is
// eight consecutive blocks; its first vec holds words 0 and 1 of each block, its second words 2 and 3:
//   32-bit element i: block 8 (i / 32) + i % 16 / 2, word 2 (i % 32 / 16) + i % 2
//   64-bit element i: block 8 (i / 16) + i % 8, words 2 (i % 16 / 8) (low half) and the next (high half)
#pragma once
#include "loops.h"
#include "simd.h"

namespace chainrule::CHAINRULE_ISA {

struct Random {
  vec<i64> first, second;
};

CHAINRULE_INLINE Random philox(u64 seed, u64 offset, i64 group) {
  // Only the low 32 bits of a lane count; what the products leave above them is never looked at.
  alignas(64) static constexpr i64 kLane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  vec<i64> x0 = load(kLane) + i64(8 * group), x1 = x0 >> 32, x2 = i64(offset), x3 = i64(offset >> 32);
  u32 k0 = u32(seed), k1 = u32(seed >> 32);
  for (int round = 0; round < 10; round++) {
    const vec<i64> p0 = mul_u32(x0, i64(0xD2511F53)), p1 = mul_u32(x2, i64(0xCD9E8D57));
    x0 = (p1 >> 32) ^ x1 ^ i64(k0);
    x1 = p1;
    x2 = (p0 >> 32) ^ x3 ^ i64(k1);
    x3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  const i64 low = 0xFFFFFFFF;
  return {(x0 & low) | (x1 << 32), (x2 & low) | (x3 << 32)};
}

// [0, 1) on a grid of 2^-24 from each 32-bit element.
CHAINRULE_INLINE vec<float> unit_float(vec<i64> bits) {
  const vec<i32> m = (bitcast<i32>(bits) >> 8) & i32(0xFFFFFF);
  vec<float> u;
  for (int i = 0; i < kRegisters; i++) u.r[i] = __builtin_convertvector(m.r[i], native<float>);
  return u * 0x1p-24f;
}

// [0, 1) on a grid of 2^-52 from each 64-bit element.
CHAINRULE_INLINE vec<double> unit_double(vec<i64> bits) {
  const vec<i64> m = ((bits >> 12) & i64(0xFFFFFFFFFFFFF)) | i64(0x3FF0000000000000);
  return bitcast<double>(m) - 1.0;
}

CHAINRULE_INLINE vec<float> unit(vec<i64> bits, float) { return unit_float(bits); }
CHAINRULE_INLINE vec<double> unit(vec<i64> bits, double) { return unit_double(bits); }

// body(i, count, bits) for every group of a flat array whose elements take `Word`-sized random bits: the group is
// y[i .. i + count), in two vecs.
template <class Word, class F>
CHAINRULE_INLINE void parallel_groups(Team& team, const RandomKey& key, i64 n, F&& body) {
  constexpr i64 size = 2 * vec<Word>::size;
  const u64 seed = key.seed, offset = key.offset;
  parallel_for(team, n, kFlatGrain, [&](i64 begin, i64 end) {  // a chunk begins at a group: the grain is a multiple
    for (i64 i = begin; i < end; i += size) body(i, at_most(size, end - i), philox(seed, offset, i / size));
  });
}

// body(i, lanes, bits) for every vec.
template <class Word, class F>
CHAINRULE_INLINE void parallel_random(Team& team, const RandomKey& key, i64 n, F&& body) {
  constexpr i64 size = vec<Word>::size;
  parallel_groups<Word>(team, key, n, [&](i64 i, i64 count, Random bits) {
    body(i, at_most(size, count), bits.first);
    if (count > size) body(i + size, count - size, bits.second);
  });
}

}  // namespace chainrule::CHAINRULE_ISA
