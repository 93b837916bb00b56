// What a recurrence shares with its team: the state of one step as packed rows of A, the recurrent weights as panels of
// B that are packed once for all steps, and the division of a step into items.
#pragma once
#include "gemm.h"

namespace chainrule::CHAINRULE_ISA {

// A step's product is state (batch, depth) times panels of `units` hidden units; the batch is cut into tiles of equal
// height, a few of which make a row block. An item is one row block of one panel.
//
// With by_rows, a chunk is a row block over all steps: rows don't meet, so there is no barrier, and no thread waits for
// data that another core has just written. Else, when rows are few for the team or the weights don't fit the L2, the
// items of a step are shared out between barriers, so that each thread keeps to its part of the weights.
struct Plan {
  i64 batch, height, tiles, block_tiles, row_blocks;
  i64 depth, depth_blocks, panels;
  bool by_rows;
};

constexpr i64 kMostBlockTiles = 4;

CHAINRULE_INLINE Plan plan_of(const Recurrence& r, i64 depth, i64 panels, i64 weight_bytes, i64 threads) {
  constexpr i64 kFits = 3 << 18;      // weights that stay in the L2
  constexpr i64 kFewRows = 8;         // below this a tile keeps too few accumulators busy
  constexpr double kLongest = 2.5e9;  // products in a chunk: 50 ms
  Plan p{};
  p.batch = r.batch, p.depth = depth, p.depth_blocks = ceil_div(depth, kBlockK), p.panels = panels;
  i64 tiles = ceil_div(r.batch, i64(kTileRows));
  const double work = double(r.steps) * double(r.batch) * double(depth) * double(r.hidden) * 4 / double(threads);
  p.by_rows = threads > 1 && weight_bytes <= kFits && r.batch >= kFewRows * threads && work < kLongest;
  if (p.by_rows) tiles = round_up(tiles, threads);
  p.height = ceil_div(r.batch, tiles);
  p.tiles = ceil_div(r.batch, p.height);
  p.block_tiles = at_most(kMostBlockTiles, p.by_rows ? ceil_div(p.tiles, threads) : p.tiles);
  p.row_blocks = ceil_div(p.tiles, p.block_tiles);
  return p;
}

// The state that a step reads, or the one that it writes: rows as packed tiles, block after block of depth.
template <class T>
struct State {
  T* data;
  i64 height, depth_blocks;
  static i64 size(const Plan& p) { return p.tiles * p.depth_blocks * kTileSize<T>; }
  CHAINRULE_INLINE const T* tile(i64 t, i64 block) const { return data + (t * depth_blocks + block) * kTileSize<T>; }
  CHAINRULE_INLINE T* at(i64 row, i64 k) const {
    return data + (row / height * depth_blocks + k / kBlockK) * kTileSize<T> + row % height * kTilePitch<T> +
           k % kBlockK;
  }
  CHAINRULE_INLINE void put(i64 row, i64 k, vec<T> v, Whole) const {
    if (k % kBlockK + vec<T>::size <= kBlockK) return store(at(row, k), v);
    put(row, k, v, i64(vec<T>::size));
  }
  CHAINRULE_INLINE void put(i64 row, i64 k, vec<T> v, i64 lanes) const {
    const i64 first = at_most(lanes, kBlockK - k % kBlockK);
    store(at(row, k), v, first);
    if (first == lanes) return;
    T rest[2 * vec<T>::size];
    store(rest, v);
    store(at(row, k + first), load(rest + first), lanes - first);
  }
  void put_row(i64 row, const T* from, i64 n) const {
    for (i64 k = 0; k < n; k += vec<T>::size) {
      const i64 lanes = at_most(n - k, i64(vec<T>::size));
      put(row, k, load(from + k, lanes), lanes);
    }
  }
};

// z (rows of the block, `units` apart) = the block's state times a packed panel (depth, units). send(row) is called for
// each of the block's rows on the way: what is wanted afterwards comes while tiles are multiplied.
template <class T, class Send>
CHAINRULE_INLINE void state_product(T* z, const Plan& p, const State<T>& state, i64 row_block, const T* panel,
                                    i64 units, Send&& send) {
  const i64 first = row_block * p.block_tiles, last = at_most(p.tiles, first + p.block_tiles);
  const i64 end = at_most(p.batch, last * p.height);
  const i64 each = ceil_div(end - first * p.height, (last - first) * p.depth_blocks * ceil_div(units, kPanel<T>));
  i64 row = first * p.height;
  for (i64 j = 0; j < units; j += kPanel<T>)
    for (i64 b = 0; b < p.depth_blocks; b++)
      for (i64 t = first; t < last; t++) {
        for (const i64 until = at_most(end, row + each); row < until; row++) send(row);
        tile_product(z + (t - first) * p.height * units + j, units, at_most(p.height, p.batch - t * p.height),
                     at_most(kPanel<T>, units - j), b > 0, InRows<T>{state.tile(t, b), kTilePitch<T>},
                     panel + b * kBlockK * units + j, units, at_most(kBlockK, p.depth - b * kBlockK));
      }
}

// step(n, row_block, panel) for steps 0 to `steps` - 1; start(row) first, which puts the rows of the first state.
template <class Start, class Step>
CHAINRULE_INLINE void each_step(Team& team, const Plan& p, i64 steps, Start&& start, Step&& step) {
  const i64 block_rows = p.block_tiles * p.height;
  if (p.by_rows) {
    parallel_for(team, p.row_blocks, 1, [&](i64 begin, i64 end) {
      for (i64 block = begin; block < end; block++) {
        for (i64 row = block * block_rows; row < at_most(p.batch, (block + 1) * block_rows); row++) start(row);
        for (i64 n = 0; n < steps; n++)
          for (i64 panel = 0; panel < p.panels; panel++) step(n, block, panel);
      }
    });
    return;
  }
  parallel_for(team, p.batch, 16, [&](i64 begin, i64 end) {
    for (i64 row = begin; row < end; row++) start(row);
  });
  for (i64 n = 0; n < steps; n++) {
    team.barrier();
    constexpr i64 kSmallItem = i64(1) << 17;
    const i64 item = at_least(i64(1), block_rows * p.depth * kPanel<float>);
    parallel_for(team, p.row_blocks * p.panels, at_least(i64(1), kSmallItem / item), [&](i64 begin, i64 end) {
      for (i64 i = begin; i < end; i++) step(n, i % p.row_blocks, i / p.row_blocks);
    });
  }
}

}  // namespace chainrule::CHAINRULE_ISA
