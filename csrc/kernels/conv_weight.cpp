// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix], as in conv.cpp.
//
// Chosen by the shape: products of pixels as they lie (one tap, channels_last) or of planes (conv_point_weight.h),
// channels by themselves (depthwise_weight.h; depthwise_pixels_weight.h for channels_last, depthwise_lanes_weight.h for
// small planes), Winograd's transforms (conv_winograd_weight.h), products in lanes of channels (conv_lanes_weight.h) or
// of images (conv_batch_weight.h), and, for what is left, dot products of planes:
//
// The positions (n, v, u) are cut into blocks: some images, or a band of one image's rows. A block's sums are dot
// products in lanes (conv_dots.h) of dy as it lies with the planes of conv_planes.h; blocks are added in ascending
// order inside chunks, and the chunks' sums in ascending order. docs/numerics.md has the cut. Of channels_last images
// the planes of a block are made first.
#include "conv_batch_weight.h"
#include "conv_dots.h"
#include "conv_lanes_weight.h"
#include "conv_point_weight.h"
#include "conv_winograd_weight.h"
#include "depthwise_lanes_weight.h"
#include "depthwise_weight.h"
#include "gemm.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// How the positions are cut. Everything but `terms` enters the order of the sums: it depends on the shape alone.
struct WeightCut {
  i64 images, rows, columns;  // of a block
  i64 across, blocks;         // blocks along a row; in all
  i64 chunk, chunks;          // blocks of a chunk; chunks
  i64 terms, pieces;          // terms (c, ky, kx) that are computed together; pieces of them
  i64 storage;                // elements for a piece's planes
  i64 x_planes, dy_planes;    // of channels_last images: elements for an image's planes, for those of a block of dy

  CHAINRULE_INLINE i64 own() const { return storage + x_planes + dy_planes; }
};

// The rows of x that a view sees.
CHAINRULE_INLINE Span rows_seen(const View& v) {
  const i64 begin = at_most(v.h, at_least(i64(0), v.off_y));
  return {begin, at_least(begin, at_most(v.h, v.off_y + (v.rows - 1) * v.step_y + (v.kh - 1) * v.delta_y + 1))};
}

template <class T>
WeightCut weight_cut(const Conv2d& conv, const Sizes& s) {
  constexpr i64 kPositions = 2048;                        // of a block: 128 steps for each reduction of lanes
  constexpr i64 kStorage = (i64(256) << 10) / sizeof(T);  // planes in the L2 beside dy
  constexpr i64 kPartials = i64(1) << 22, kChunks = 16;
  const View v = view_of(conv.window);
  WeightCut cut{1, v.rows, v.columns, 1, 0, 1, 1, 0, 1, 0, 0, 0};
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
  const Chunks chunks = chunks_of(cut.blocks, at_most(kChunks, kPartials / at_least(i64(1), weights)));
  cut.chunk = chunks.size, cut.chunks = chunks.count;
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
  if (!planar(conv)) {
    const i64 rows = at_most(v.h, (cut.rows - 1) * v.step_y + (v.kh - 1) * v.delta_y + 1);
    cut.x_planes = at_most(s.in, ceil_div(cut.terms, s.taps) + 1) * rows * v.w;
    cut.dy_planes = s.out * cut.images * cut.rows * cut.columns;
  }
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
  const i64 depth = s.in * s.taps, terms = at_most(cut.terms, depth - term), positions = v.rows * v.columns;
  const i64 copy = round_up((cut.storage - 2 * vec<T>::size) / cut.images, vec<T>::size);
  constexpr i64 kMostOffset = i64(0x7FFFFFFF);
  i32 offset[kBlockK];
  DotBlock dot{images, positions, s.size, conv.cout * s.size, copy, add};
  x += first * s.x.image, dy += first * s.y.image + at * s.y.pixel;
  const T* planes_of_terms = storage;
  if (planar(conv) && pointwise(conv) && terms * s.image <= kMostOffset) {  // where they lie
    for (i64 k = 0; k < terms; k++) offset[k] = i32(k * s.image);
    planes_of_terms = x + term * s.image + at;
    dot.x_image = s.x.image;
  } else if (planar(conv)) {
    const Band band = band_of(v);
    for (i64 n = 0; n < images; n++) copy_terms(storage + n * copy, x + n * s.x.image, term, terms, band);
    find_terms(offset, term, terms, band);
  } else {
    T* const planes = storage + cut.storage;
    T* const outputs = planes + cut.x_planes;
    const Span seen = rows_seen(v);
    const i64 channel = term / s.taps, channels = ceil_div(term + terms, s.taps) - channel, row_size = v.w * s.x.pixel;
    x += channel + seen.begin * row_size;
    v.h = seen.end - seen.begin, v.off_y -= seen.begin;
    const Band band = band_of(v);
    find_terms(offset, term - channel * s.taps, terms, band);
    for (i64 n = 0; n < images; n++) {
      run_from_lanes(planes, x + n * s.x.image, s.x.pixel, {0, v.h * v.w, 1}, channels, v.h * v.w);
      copy_terms(storage + n * copy, planes, term - channel * s.taps, terms, band);
      run_from_lanes(outputs + n * s.out * positions, dy + n * s.y.image, s.y.pixel, {0, positions, 1}, s.out,
                     positions);
    }
    dy = outputs;
    dot.dy_channel = positions, dot.dy_image = s.out * positions;
  }
  const i64 k_tiles = ceil_div(terms, i64(kDotTerms)), o_tiles = ceil_div(s.out, i64(kDotOutputs));
  // dy's rows of a tile stay in the L1 while the planes pass by.
  for (i64 j = 0; j < o_tiles; j++)
    for (i64 i = 0; i < k_tiles; i++) {
      const i64 k = i * terms / k_tiles, o = j * s.out / o_tiles;
      dots(dw + o * depth + k, depth, (j + 1) * s.out / o_tiles - o, (i + 1) * terms / k_tiles - k,
           dy + o * dot.dy_channel, planes_of_terms, offset + k, dot);
    }
}

// By dot products.
template <class T>
void weight_sums(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  const i64 weights = conv.cout * s.in * s.taps;
  if (weights == 0) return;
  const WeightCut cut = weight_cut<T>(conv, s);
  const i64 sums = cut.blocks ? cut.chunks : 0;
  T* const partials = cut.chunks > 1 ? scratch + team.size() * cut.own() : dw;
  T* const storage = scratch + team.rank() * cut.own();
  const i64 depth = s.in * s.taps, items = conv.groups * cut.pieces;
  parallel_for(team, sums * items, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 chunk = i / items, group = i % items / cut.pieces, term = i % cut.pieces * cut.terms;
      T* const to = partials + chunk * weights + group * s.out * depth + term;
      const i64 last = at_most(cut.blocks, (chunk + 1) * cut.chunk);
      for (i64 block = chunk * cut.chunk; block < last; block++)
        block_weights(to, dy + s.y_at(group), x + s.x_at(group), conv, s, cut, block, term, block > chunk * cut.chunk,
                      storage);
    }
  });
  if (sums == 1) return;
  team.barrier();
  add_partials(team, dw, partials, sums, weights);
}

template <class T>
i64 sums_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  const WeightCut cut = weight_cut<T>(conv, s);
  return threads * cut.own() + (cut.chunks > 1 ? cut.chunks * conv.cout * s.in * s.taps : 0);
}

CHAINRULE_INLINE Filter weight_filter(const Conv2d& conv, const Sizes& s) { return filter_of(view_of(conv.window), s); }

// Its vecs are of input channels.
template <class T>
CHAINRULE_INLINE bool by_winograd(const Conv2d& conv, const Sizes& s) {
  return worth_transforming<T>(view_of(conv.window), s.products, s.out, s.in);
}

CHAINRULE_INLINE bool by_channels(const Conv2d& conv, const Sizes& s) {
  return depthwise(s.out, s.in, view_of(conv.window));
}

// One tap of planes needs no copies at all as dot products (with strides, few), whose vecs small planes hardly fill.
CHAINRULE_INLINE bool worth_dots(const Conv2d& conv, const Sizes& s) {
  constexpr i64 kPositions = 256, kChannels = 32;
  return planar(conv) && s.taps == 1 && (s.size > kPositions || s.in < kChannels || s.out < kChannels);
}
template <class T>
CHAINRULE_INLINE bool by_lanes(const Conv2d& conv, const Sizes& s) {
  return !worth_dots(conv, s) && !by_channels(conv, s) && worth_lane_products<T>(view_of(conv.window), s.in, s.out);
}

// One tap that sees the pixels as they lie: a product of matrices for each group, as a linear layer's.
CHAINRULE_INLINE bool by_pixels(const Conv2d& conv, const Sizes& s) {
  return pointwise(conv) && !planar(conv) && !by_channels(conv, s);
}
template <class T>
Grid pixel_grid(const Conv2d& conv, const Sizes& s) {
  return grid_of<T>(conv.groups, s.out, s.in, conv.batch * s.size);
}
template <class T>
void pixel_gradient(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  const Grid grid = pixel_grid<T>(conv, s);
  products<T>(team, conv.groups, grid, scratch, [&](i64 g) {
    return product_of(dw + g * s.out * s.in, s.in, false, TransposedRows<T>{dy + g * s.out, conv.cout, s.out},
                      PlainColumns<T>{x + g * s.in, conv.cin, worth_reading_direct<T>(grid, conv.cin)}, NoEpilogue{});
  });
}

}  // namespace

template <class T>
i64 conv2d_backward_weight_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (s.in == 0) return 0;
  if (by_pixels(conv, s)) return products_scratch<T>(conv.groups, pixel_grid<T>(conv, s), threads);
  if (worth_points<T>(conv, s)) return PointGradientCut<T>(conv, s).scratch(threads);
  if (by_channels(conv, s)) {
    if (!planar(conv)) return PixelGradientCut<T>(conv, s).scratch();
    return worth_lane_weights<T>(conv, s) ? lane_weights_scratch<T>(conv, s, threads)
                                          : PlaneGradientCut<T>(conv, s).scratch(threads);
  }
  const i64 direct = by_lanes<T>(conv, s)               ? LaneGradientCut<T>(conv, s, threads).scratch(threads)
                     : worth_batch_gradient<T>(conv, s) ? BatchGradientCut<T>(conv, s).scratch(threads)
                                                        : sums_scratch<T>(conv, s, threads);
  if (!by_winograd<T>(conv, s)) return direct;
  return at_least(GradientCut<T>(weight_filter(conv, s)).scratch(threads), direct);
}

template <class T>
void conv2d_backward_weight(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  if (by_pixels(conv, s)) return pixel_gradient(team, dw, dy, x, conv, s, scratch);
  if (worth_points<T>(conv, s)) return point_gradient(team, dw, dy, x, conv, s, scratch);
  if (by_channels(conv, s)) {
    if (!planar(conv)) return pixel_weights(team, dw, dy, x, conv, s, scratch);
    if (worth_lane_weights<T>(conv, s)) return lane_weights(team, dw, dy, x, conv, s, scratch);
    return plane_weights(team, dw, dy, x, conv, s, scratch);
  }
  if constexpr (kTransforms<T>)
    if (by_winograd<T>(conv, s) && filter_gradient(team, dw, dy, x, weight_filter(conv, s), scratch)) return;
  if (by_lanes<T>(conv, s)) return lane_gradient(team, dw, dy, x, conv, s, scratch);
  if (worth_batch_gradient<T>(conv, s)) return batch_gradient(team, dw, dy, x, conv, s, scratch);
  weight_sums(team, dw, dy, x, conv, s, scratch);
}

INSTANTIATE(conv2d_backward_weight)
INSTANTIATE(conv2d_backward_weight_scratch)

}  // namespace chainrule::CHAINRULE_ISA
