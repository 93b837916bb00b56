// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix], as in conv.cpp.
//
// The positions (n, v, u) are cut into blocks: some images, or a band of one image's rows. A block's sums are dot
// products in lanes (conv_dots.h) of dy as it lies with the planes of conv_planes.h; blocks are added in ascending
// order inside chunks, and the chunks' sums in ascending order. docs/numerics.md has the cut.
#include "conv_dots.h"
#include "conv_planes.h"
#include "conv_sizes.h"
#include "conv_winograd_weight.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Images per partial sum of the depthwise weight gradient.
CHAINRULE_INLINE i64 images_per_sum(const Sizes& s) { return ceil_div(i64(1) << 14, at_least(i64(1), s.size)); }

template <class T>
void depthwise_weights(Team& team, T* partials, const T* dy, const T* x, const Conv2d& conv, const Sizes& s,
                       T* storage) {
  const View view = view_of(conv.window);
  const i64 images = images_per_sum(s), sums = ceil_div(conv.batch, images);
  parallel_for(team, sums * conv.groups, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i % conv.groups, first = i / conv.groups * images;
      vec<T> total[2][kBlockK];
      for (i64 o = 0; o < s.out; o++)
        for (i64 t = 0; t < s.taps; t++) total[o][t] = vec<T>(0);
      for (i64 n = first; n < at_most(conv.batch, first + images); n++)
        each_part(x + (n * conv.groups + group) * s.image, view, storage,
                  [&](i64 row, const Band& band, const i32* offset) {
                    for (i64 o = 0; o < s.out; o++)
                      depthwise_weight(total[o], dy + (n * conv.cout + group * s.out + o) * s.size + row * view.columns,
                                       storage, offset, band);
                  });
      T* const to = partials + (i / conv.groups * conv.cout + group * s.out) * s.taps;
      for (i64 o = 0; o < s.out; o++)
        for (i64 t = 0; t < s.taps; t++) to[o * s.taps + t] = lane(sum_lanes<T, 1>(&total[o][t]), 0);
    }
  });
}

// How the positions are cut. Everything but `terms` enters the order of the sums: it depends on the shape alone.
struct WeightCut {
  i64 images, rows, columns;  // of a block
  i64 across, blocks;         // blocks along a row; in all
  i64 chunk, chunks;          // blocks of a chunk; chunks
  i64 terms, pieces;          // terms (c, ky, kx) that are computed together; pieces of them
  i64 storage;                // elements for a piece's planes
};

template <class T>
WeightCut weight_cut(const Conv2d& conv, const Sizes& s) {
  constexpr i64 kPositions = 2048;                        // of a block: 128 steps for each reduction of lanes
  constexpr i64 kStorage = (i64(256) << 10) / sizeof(T);  // planes in the L2 beside dy
  constexpr i64 kPartials = i64(1) << 22, kChunks = 16;
  const View v = view_of(conv.window);
  WeightCut cut{1, v.rows, v.columns, 1, 0, 1, 1, 0, 1, 0};
  if (v.positions() <= kPositions) {
    cut.images = at_most(at_least(i64(1), conv.batch), kPositions / v.positions());
  } else {
    const i64 rows = at_most(v.rows, at_least(i64(1), kPositions / v.columns));
    cut.rows = ceil_div(v.rows, ceil_div(v.rows, rows));
    cut.across = ceil_div(v.columns, kPositions);
    if (cut.rows > 1) cut.across = 1;
    cut.columns = ceil_div(v.columns, cut.across);
    cut.across = ceil_div(v.columns, cut.columns);
  }
  cut.blocks = ceil_div(conv.batch, cut.images) * ceil_div(v.rows, cut.rows) * cut.across;
  const i64 weights = conv.cout * s.in * s.taps;
  cut.chunks = at_least(i64(1), at_most(at_most(cut.blocks, kChunks), kPartials / at_least(i64(1), weights)));
  cut.chunk = at_least(i64(1), ceil_div(cut.blocks, cut.chunks));
  cut.chunks = at_least(i64(1), ceil_div(cut.blocks, cut.chunk));
  View b = v;
  b.rows = cut.rows, b.columns = cut.columns;
  const Band band = band_of(b);
  if (s.taps > kBlockK) {
    cut.terms = kBlockK;
    cut.storage = kBlockK * band.plane;
  } else {
    const i64 channel = band.plane * band.x.runs * band.y.runs;
    const i64 channels =
        at_least(i64(1), at_most(s.in, at_most(kBlockK / s.taps, kStorage / at_least(i64(1), channel * cut.images))));
    cut.terms = channels * s.taps;
    cut.storage = channels * channel;
  }
  cut.pieces = ceil_div(s.in * s.taps, cut.terms);
  cut.storage = round_up(cut.storage, vec<T>::size) * cut.images + 2 * vec<T>::size;
  return cut;
}

// One piece of a group's terms, over block number `block`. dw: the piece's first term of the group's first output.
template <class T>
void block_weights(T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, const WeightCut& cut, i64 block,
                   i64 term, bool add, T* storage) {
  View v = view_of(conv.window);
  const i64 down = ceil_div(v.rows, cut.rows);
  const i64 row = block / cut.across % down * cut.rows, column = block % cut.across * cut.columns;
  const i64 first = block / (cut.across * down) * cut.images, images = at_most(cut.images, conv.batch - first);
  const i64 at = row * v.columns + column;
  v.rows = at_most(cut.rows, v.rows - row), v.columns = at_most(cut.columns, v.columns - column);
  v.off_y += row * v.step_y, v.off_x += column * v.step_x;
  const Band band = band_of(v);
  const i64 depth = s.in * s.taps, terms = at_most(cut.terms, depth - term);
  i32 offset[kBlockK];
  const i64 image = round_up((cut.storage - 2 * vec<T>::size) / cut.images, vec<T>::size);
  for (i64 n = 0; n < images; n++)
    copy_block(storage + n * image, offset, x + (first + n) * conv.cin * s.image, term, terms, band);
  const DotBlock dot{images, v.rows * v.columns, s.size, conv.cout * s.size, image, add};
  dy += first * conv.cout * s.size + at;
  const i64 k_tiles = ceil_div(terms, i64(kDotTerms)), o_tiles = ceil_div(s.out, i64(kDotOutputs));
  // dy's rows of a tile stay in the L1 while the planes pass by.
  for (i64 j = 0; j < o_tiles; j++)
    for (i64 i = 0; i < k_tiles; i++) {
      const i64 k = i * terms / k_tiles, o = j * s.out / o_tiles;
      dots(dw + o * depth + k, depth, (j + 1) * s.out / o_tiles - o, (i + 1) * terms / k_tiles - k, dy + o * s.size,
           storage, offset + k, dot);
    }
}

// By dot products.
template <class T>
void weight_sums(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  const i64 weights = conv.cout * s.in * s.taps;
  if (weights == 0) return;
  i64 sums;
  T* partials = scratch;
  if (depthwise(s.out, s.in, view_of(conv.window))) {
    const i64 room = part_room<T>(view_of(conv.window));
    sums = ceil_div(conv.batch, images_per_sum(s));
    partials = scratch + team.size() * room;
    depthwise_weights(team, partials, dy, x, conv, s, scratch + team.rank() * room);
  } else {
    const WeightCut cut = weight_cut<T>(conv, s);
    sums = cut.blocks ? cut.chunks : 0;
    partials = cut.chunks > 1 ? scratch + team.size() * cut.storage : dw;
    T* const storage = scratch + team.rank() * cut.storage;
    const i64 depth = s.in * s.taps, items = conv.groups * cut.pieces;
    parallel_for(team, sums * items, 1, [&](i64 begin, i64 end) {
      for (i64 i = begin; i < end; i++) {
        const i64 chunk = i / items, group = i % items / cut.pieces, term = i % cut.pieces * cut.terms;
        T* const to = partials + chunk * weights + group * s.out * depth + term;
        const i64 last = at_most(cut.blocks, (chunk + 1) * cut.chunk);
        for (i64 block = chunk * cut.chunk; block < last; block++)
          block_weights(to, dy + group * s.out * s.size, x + group * s.in * s.image, conv, s, cut, block, term,
                        block > chunk * cut.chunk, storage);
      }
    });
    if (sums == 1) return;
  }
  team.barrier();
  parallel_vecs<T>(team, weights, [&](i64 i, i64 lanes) {
    vec<T> total(0);
    for (i64 part = 0; part < sums; part++) total = total + load(partials + part * weights + i, lanes);
    store(dw + i, total, lanes);
  });
}

CHAINRULE_INLINE Filter weight_filter(const Conv2d& conv, const Sizes& s) {
  return filter_of(view_of(conv.window), s.products, conv.groups, s.in, s.out);
}

// Its vecs are of input channels.
template <class T>
CHAINRULE_INLINE bool by_winograd(const Conv2d& conv, const Sizes& s) {
  return worth_transforming<T>(view_of(conv.window), s.products, s.out, s.in);
}

}  // namespace

template <class T>
i64 conv2d_backward_weight_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  if (depthwise(s.out, s.in, view_of(conv.window)))
    return threads * part_room<T>(view) + ceil_div(conv.batch, images_per_sum(s)) * conv.cout * s.taps;
  if (s.in == 0) return 0;
  const WeightCut cut = weight_cut<T>(conv, s);
  const i64 direct = threads * cut.storage + (cut.chunks > 1 ? cut.chunks * conv.cout * s.in * s.taps : 0);
  if (!by_winograd<T>(conv, s)) return direct;
  return at_least(GradientCut<T>(weight_filter(conv, s)).scratch(threads), direct);
}

template <class T>
void conv2d_backward_weight(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  if constexpr (kTransforms<T>)
    if (by_winograd<T>(conv, s) && filter_gradient(team, dw, dy, x, weight_filter(conv, s), scratch)) return;
  weight_sums(team, dw, dy, x, conv, s, scratch);
}

INSTANTIATE(conv2d_backward_weight)
INSTANTIATE(conv2d_backward_weight_scratch)

}  // namespace chainrule::CHAINRULE_ISA
