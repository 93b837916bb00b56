// The weight gradient of convolutions in lanes: for each tap a product of dy's pixels, transposed, with the pixels of x
// that the tap sees, copied to lanes as in conv_lanes.h. A tap has its own run of columns, so that the positions of
// whole rows follow each other.
//
// The positions are cut into parts by the shape alone: an image's plane, or some rows of it, or a part of a row. A
// part's sum is one chain over its positions; parts are added in ascending order inside chunks, and the chunks' sums in
// ascending order (docs/numerics.md).
#pragma once
#include "conv_lanes.h"
#include "conv_sizes.h"

namespace chainrule::CHAINRULE_ISA {

// Whether the gradient is computed here: a rule of the shape without the batch, because other ways add in other orders.
// Channels are whole vecs, or nearly; a tile is stored once for each part.
template <class T>
CHAINRULE_INLINE bool worth_lane_products(const View& v, i64 in, i64 out) {
  constexpr i64 kPositions = 32, kOutputs = 8;
  return in > 0 && in * 4 >= round_up(in, vec<T>::size) * 3 && out >= kOutputs && v.taps() <= kBlockK &&
         v.positions() >= kPositions;
}

template <class T>
struct LaneGradientCut {
  PositionParts of_plane;
  i64 parts, chunk, chunks;  // of a group; of a chunk; chunks
  i64 piece, pieces;         // outputs that are computed together
  i64 wide, tap;             // a tap's sums: of an output; of all outputs of a group
  i64 storage, line, dy, own, partial;

  LaneGradientCut(const Conv2d& conv, const Sizes& s, i64 threads) : of_plane(view_of(conv.window)) {
    constexpr i64 kChunks = 16, kPartials = i64(1) << 20;
    parts = conv.batch * of_plane.count();
    wide = round_up(s.in, vec<T>::size);
    tap = s.out * wide + vec<T>::size;  // a line more: the taps of a weight fall into different sets of the caches
    partial = s.groups * s.taps * tap;
    const i64 sums = s.groups * s.taps * s.out * wide;  // without the lines: what the order of sums depends on
    const Chunks cut = chunks_of(parts, at_most(kChunks, kPartials / at_least(i64(1), sums)));
    chunk = cut.size, chunks = cut.count;
    // Pieces give threads something to do where chunks don't come out even; they don't enter the order. Each copies its
    // own x.
    const i64 items = chunks * s.groups;
    const bool even = items % threads == 0 && parts % chunk == 0;
    pieces = even ? 1 : at_most(ceil_div(s.out, i64(2 * kTileRows)), ceil_div(4 * threads, items));
    piece = ceil_div(s.out, pieces), pieces = ceil_div(s.out, piece);
    View b = view_of(conv.window);
    b.rows = of_plane.rows, b.columns = of_plane.columns;
    const Band band = band_of(b);
    storage = lanes_room<T>(band, s.in), line = line_room<T>(band);
    // For all outputs, however many pieces: a recording may replay on fewer threads than its scratch was made for.
    dy = planar(conv) ? b.positions() * round_up(s.out, vec<T>::size) : 0;
    own = round_up(storage + line + dy, vec<T>::size);
  }
  CHAINRULE_INLINE i64 scratch(i64 threads) const { return chunks * partial + threads * own; }
};

// One part: sums[tap][o][c] = or += its products. x, dy: the first channels of its image; sums and dy of the piece.
template <class T>
CHAINRULE_INLINE void part_products(T* sums, const T* dy, const T* x, const Conv2d& conv, const Sizes& s,
                                    const LaneGradientCut<T>& cut, i64 part, i64 outputs, bool add, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const View plane = view_of(conv.window), v = cut.of_plane.view(plane, part);
  const PositionParts::Place at = cut.of_plane.place(part);
  const i64 first = (at.row * plane.columns + at.column) * s.y.pixel;
  const Band b = band_of(v);
  T* const line = scratch + cut.storage;
  copy_lanes(scratch, x, s.x, s.in, b, line);
  InColumns<T> gradient{dy + first, s.y.pixel};  // a row is an output, a term a position
  if (planar(conv)) {
    T* const pixels = line + cut.line;
    gradient = {pixels, round_up(outputs, size)};
    for (i64 o = 0; o < outputs; o += size)
      run_to_lanes(pixels + o, gradient.ld, dy + first + o * s.y.channel, s.y, at_most(size, outputs - o),
                   v.positions());
  }
  const i64 run = b.plane * size, block = run * b.x.runs * b.y.runs, heights = ceil_div(outputs, i64(kTileRows));
  for (i64 ty = 0; ty < v.kh; ty++)
    for (i64 tx = 0; tx < v.kw; tx++) {
      const T* const seen = scratch + (b.x.run(tx) * b.y.runs + b.y.run(ty)) * run + b.y.shift(ty) * b.pitch * size;
      T* const to = sums + (ty * v.kw + tx) * cut.tap;
      for (i64 c = 0; c < cut.wide; c += kPanel<T>)
        for (i64 t = 0; t < heights; t++) {
          const i64 o = t * outputs / heights, end = (t + 1) * outputs / heights;
          tile_of<T, kTileRows, kTileVecs>(to + o * cut.wide + c, cut.wide, end - o, at_most(kPanel<T>, cut.wide - c),
                                           add, gradient.from(o), LaneColumns<T>{seen + c / size * block, block},
                                           v.positions());
        }
    }
}

// dw[o][c][ky][kx] of all groups, by all threads.
template <class T>
void lane_gradient(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const LaneGradientCut<T> cut(conv, s, team.size());
  T* const own = scratch + cut.chunks * cut.partial + team.rank() * cut.own;
  const i64 items = s.groups * cut.pieces, plane = cut.of_plane.count();
  parallel_for(team, cut.chunks * items, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 chunk = i / items, group = i % items / cut.pieces, first = i % cut.pieces * cut.piece;
      T* const sums = scratch + chunk * cut.partial + group * s.taps * cut.tap + first * cut.wide;
      for (i64 p = chunk * cut.chunk; p < at_most(cut.parts, (chunk + 1) * cut.chunk); p++) {
        const i64 product = p / plane * s.groups + group;
        part_products(sums, dy + s.y_at(product) + first * s.y.channel, x + s.x_at(product), conv, s, cut, p % plane,
                      at_most(cut.piece, s.out - first), p > chunk * cut.chunk, own);
      }
    }
  });
  team.barrier();
  constexpr i64 kVecsAhead = 4;
  const i64 sums = cut.parts ? cut.chunks : 0;
  parallel_for(team, s.groups * s.out, ceil_div(kFlatGrain, s.in * s.taps * cut.chunks), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++)
      for (i64 c = 0; c < s.in; c += size)
        for (i64 t = 0; t < s.taps; t++) {
          const T* const from = scratch + (i / s.out * s.taps + t) * cut.tap + i % s.out * cut.wide + c;
          vec<T> total(0);
          for (i64 chunk = 0; chunk < sums; chunk++) {
            send_for(from + chunk * cut.partial + kVecsAhead * size);  // too many runs for the prefetcher to follow
            total = total + load(from + chunk * cut.partial);
          }
          T lanes[size];
          store(lanes, total);
          for (i64 l = 0; l < at_most(size, s.in - c); l++) dw[(i * s.in + c + l) * s.taps + t] = lanes[l];
        }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
