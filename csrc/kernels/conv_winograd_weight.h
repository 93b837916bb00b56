// The weight gradient of 3 x 3 windows by Winograd's transforms (winograd.h): 16 sums over all tiles of products of the
// transformed gradient with the transformed input, which are turned into taps at the end.
//
// The tiles are cut into blocks by the shape alone. In a block a sum is one chain over its tiles; blocks are added in
// ascending order inside chunks, and the chunks' sums in ascending order (docs/numerics.md).
#pragma once
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

// Everything here enters the order of the sums but `piece`, the outputs that are computed together.
template <class T>
struct GradientCut {
  FilterCut<T> tiles;
  i64 blocks, chunk, chunks;  // blocks; blocks of a chunk; chunks
  i64 piece, pieces, wide;    // outputs of a piece; pieces; inputs in whole vecs
  i64 in_pitch, out_pitch, sum_pitch, own, partial;

  explicit GradientCut(const Filter& f)
      : tiles(f, at_most(i64(128), (i64(512) << 10) / i64(sizeof(T)) / kElements / widest(f))) {
    constexpr i64 size = vec<T>::size, kChunks = 16, kPartials = i64(1) << 22;
    wide = round_up(f.in, size);
    piece = at_most(round_up(f.out, size), outputs_of_piece(f));
    pieces = ceil_div(f.out, piece);
    in_pitch = tiles.tiles() * wide + size, out_pitch = tiles.tiles() * piece + size;
    sum_pitch = piece * wide + size;
    own = tiles.lanes + kElements * (in_pitch + out_pitch);
    partial = f.groups * pieces * kElements * sum_pitch;
    blocks = tiles.chunks * tiles.down * tiles.across;
    const Chunks cut = chunks_of(blocks, at_most(kChunks, kPartials / partial));
    chunk = cut.size, chunks = cut.count;
  }
  CHAINRULE_INLINE i64 scratch(i64 threads) const { return chunks * partial + threads * own; }

 private:
  // A piece's sums stay in the L2.
  CHAINRULE_INLINE static i64 outputs_of_piece(const Filter& f) {
    constexpr i64 size = vec<T>::size, kSums = (i64(512) << 10) / sizeof(T);
    return at_least(size, kSums / kElements / round_up(f.in, size) / size * size);
  }
  CHAINRULE_INLINE static i64 widest(const Filter& f) {
    return round_up(f.in, vec<T>::size) + at_most(round_up(f.out, vec<T>::size), outputs_of_piece(f));
  }
};

// The 16 products of a block: sums[e][o][c] = or += the sum over tiles of e[o] * v[c].
template <class T>
CHAINRULE_INLINE void block_products(T* sums, const T* gradient, const T* input, i64 outputs, i64 tiles, bool add,
                                     const GradientCut<T>& cut) {
  constexpr i64 size = vec<T>::size;
  const i64 block = tiles * size;
  for (int e = 0; e < kElements; e++, sums += cut.sum_pitch, gradient += cut.out_pitch, input += cut.in_pitch)
    for (i64 c = 0; c < cut.wide; c += kPanel<T>)
      for (i64 o = 0; o < outputs; o += size) {
        const i64 rows = at_most(size, outputs - o), heights = ceil_div(rows, i64(kTileRows));
        for (i64 t = 0; t < heights; t++) {
          const i64 row = t * rows / heights;
          tile_of<T, kTileRows, kTileVecs>(sums + (o + row) * cut.wide + c, cut.wide, (t + 1) * rows / heights - row,
                                           at_most(kPanel<T>, cut.wide - c), add,
                                           InColumns<T>{gradient + o * tiles + row, size},
                                           LaneColumns<T>{input + c * tiles, block}, tiles);
        }
      }
}

// dw of one vec of inputs from the sums of all chunks.
template <class T>
CHAINRULE_INLINE void finish_taps(T* dw, const T* sums, i64 channels, const GradientCut<T>& cut) {
  constexpr i64 size = vec<T>::size;
  T total[kElements * size], taps[9][size];
  for (int e = 0; e < kElements; e++) {
    const T* from = sums + e * cut.sum_pitch;
    vec<T> sum = load(from);
    for (i64 chunk = 1; chunk < cut.chunks; chunk++) sum = sum + load(from += cut.partial);
    store(total + e * size, sum);
  }
  weight_taps(taps, total, size);
  for (i64 c = 0; c < channels; c++)
    for (int t = 0; t < 9; t++) dw[c * 9 + t] = taps[t][c];
}

// dw[o][c][ky][kx] of all groups, by all threads. False, for every thread, where an infinity or a NaN came out: dw is
// to be computed another way.
template <class T>
bool filter_gradient(Team& team, T* dw, const T* dy, const T* x, const Filter& f, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const GradientCut<T> cut(f);
  T* const partials = scratch;
  T* const lanes = scratch + cut.chunks * cut.partial + team.rank() * cut.own;
  T* const input = lanes + cut.tiles.lanes;
  T* const gradient = input + kElements * cut.in_pitch;
  const i64 parts = cut.tiles.down * cut.tiles.across, batch = f.products / f.groups;
  View outputs = f.view;  // dy's planes, as tiles of outputs see them
  outputs.h = f.view.rows, outputs.w = f.view.columns, outputs.off_y = outputs.off_x = 0;
  const i64 items = f.groups * cut.pieces;
  parallel_for(team, cut.chunks * items, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 chunk = i / items, group = i % items / cut.pieces, piece = i % cut.pieces, first = piece * cut.piece;
      const i64 channels = at_most(cut.piece, f.out - first);
      T* const sums = partials + chunk * cut.partial + (group * cut.pieces + piece) * kElements * cut.sum_pitch;
      for (i64 b = chunk * cut.chunk; b < at_most(cut.blocks, (chunk + 1) * cut.chunk); b++) {
        const Tiles at = tiles_of(f, cut.tiles, b % parts);
        const i64 from = b / parts * cut.tiles.images, images = at_most(cut.tiles.images, batch - from);
        const i64 each = at.rows * at.columns, tiles = images * each;
        for (i64 n = 0; n < images; n++) {
          const i64 product = (from + n) * f.groups + group;
          transform_planes(input + n * each * size, cut.in_pitch, tiles * size, x + f.x_at(product), f.x, f.in, f.view,
                           at, lanes, InputTiles());
          transform_planes(gradient + n * each * size, cut.out_pitch, tiles * size,
                           dy + f.y_at(product) + first * f.y.channel, f.y, channels, outputs, at, lanes,
                           GradientTiles());
        }
        block_products(sums, gradient, input, channels, tiles, b > chunk * cut.chunk, cut);
      }
    }
  });
  team.barrier();
  const i64 vecs = cut.wide / size;
  parallel_for(team, f.groups * f.out * vecs, 16, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 row = i / vecs, c = i % vecs * size, group = row / f.out, o = row % f.out;
      finish_taps(
          dw + (row * f.in + c) * 9,
          partials + (group * cut.pieces + o / cut.piece) * kElements * cut.sum_pitch + o % cut.piece * cut.wide + c,
          at_most(size, f.in - c), cut);
    }
  });
  team.barrier();
  return all_finite(dw, f.groups * f.out * f.in * 9);
}

}  // namespace chainrule::CHAINRULE_ISA
