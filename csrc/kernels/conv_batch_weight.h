// The weight gradient in lanes of images (conv_batch.h): a block is a vec of images, of which a band of positions is
// summed at a time, each lane in one chain over them; then the lanes in a tree. dy and a padded copy of x are
// transposed, and a tile is some outputs by some terms (c, ky, kx), as in conv_dots.h.
#pragma once
#include "conv_dots.h"
#include "conv_sizes.h"

namespace chainrule::CHAINRULE_ISA {

// How the positions are cut. Everything here enters the order of the sums: it depends on the shape alone.
template <class T>
struct BatchGradientCut {
  static constexpr i64 kPositions = 128, kChunks = 16, kRoom = (i64(512) << 10) / sizeof(T);
  i64 rows, bands;            // of positions
  i64 blocks, chunk, chunks;  // blocks of images by bands; blocks of a chunk; chunks
  i64 columns;                // of the padded copy of x
  i64 x, dy, own, weights;    // elements: of the copies, of a thread's scratch, of dw

  BatchGradientCut(const Conv2d& conv, const Sizes& s) {
    const Window2d& g = conv.window;
    const i64 images = ceil_div(conv.batch, i64(vec<T>::size));
    columns = g.pw + at_least(g.w, (g.ow - 1) * g.sw - g.pw + (g.kw - 1) * g.dw + 1);
    const auto cut_to = [&](i64 most) {
      rows = ceil_div(g.oh, ceil_div(g.oh, most)), bands = ceil_div(g.oh, rows), blocks = images * bands;
      x = s.in * rows_seen(g, rows) * columns * vec<T>::size, dy = s.out * rows * g.ow * vec<T>::size;
    };
    cut_to(at_least(i64(1), kPositions / g.ow));
    while (rows > 1 && (x + dy > kRoom || (blocks < kChunks / 2 && rows * g.ow >= kPositions / 2)))
      cut_to(ceil_div(rows, i64(2)));
    const Chunks cut = chunks_of(blocks, kChunks);
    chunk = cut.size, chunks = cut.count;
    own = x + dy + round_up(s.in * s.taps, vec<T>::size);
    weights = s.out * s.in * s.taps;
  }
  CHAINRULE_INLINE static i64 rows_seen(const Window2d& g, i64 rows) {
    return (rows - 1) * g.sh + (g.kh - 1) * g.dh + 1;
  }
  CHAINRULE_INLINE i64 scratch(i64 threads) const { return threads * own + (chunks > 1 ? chunks * weights : 0); }
};

// What a tile sums over: rows by columns of positions, and the elements from one to the next in dy and x.
struct DotBand {
  i64 rows, columns;
  i64 dy_channel, dy_row, dy_pixel, x_row, x_pixel;
  bool add;
};

template <class T, int Outputs, int Terms>
CHAINRULE_OUT_OF_LINE void batch_dots_fixed(T* sums, i64 row, const T* dy, const T* x, const i32* offset,
                                            const DotBand& b) {
  vec<T> sum[Outputs][Terms];
#pragma GCC unroll 8
  for (int o = 0; o < Outputs; o++)
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) sum[o][k] = vec<T>(0);
  for (i64 v = 0; v < b.rows; v++, dy += b.dy_row, x += b.x_row) {
    const T *g[Outputs], *from[Terms];
#pragma GCC unroll 8
    for (int o = 0; o < Outputs; o++) g[o] = dy + o * b.dy_channel;
#pragma GCC unroll 8
    for (int k = 0; k < Terms; k++) from[k] = x + offset[k];
    i64 at = 0, seen = 0;
#pragma GCC unroll 1
    for (i64 u = 0; u < b.columns; u++, at += b.dy_pixel, seen += b.x_pixel) add_dots(sum, g, at, from, seen, Whole());
  }
  put_dots(sums, row, b.add, sum);
}
template <int Outputs = kDotOutputs, int Terms = kDotTerms, class T>
CHAINRULE_INLINE void batch_dots(T* sums, i64 row, i64 outputs, i64 terms, const T* dy, const T* x, const i32* offset,
                                 const DotBand& b) {
  if constexpr (Outputs > 1)
    if (outputs < Outputs) return batch_dots<Outputs - 1, Terms>(sums, row, outputs, terms, dy, x, offset, b);
  if constexpr (Terms > 1)
    if (terms < Terms) return batch_dots<Outputs, Terms - 1>(sums, row, outputs, terms, dy, x, offset, b);
  batch_dots_fixed<T, Outputs, Terms>(sums, row, dy, x, offset, b);
}

// Rows [y, y + b.rows) of images in lanes, `left` columns of zeros before them, zeros where they lie outside.
template <class T>
CHAINRULE_INLINE void padded_block(T* to, const Block& b, const T* from, const Images& at, i64 images, i64 y, i64 left,
                                   const Window2d& g) {
  constexpr i64 size = vec<T>::size;
  const i64 begin = at_most(b.rows, at_least(i64(0), -y)), end = at_least(begin, at_most(b.rows, g.h - y));
  const auto zeros = [](T* p, i64 count) {
    for (i64 i = 0; i < count; i++) store(p + i * size, vec<T>(0));
  };
  // Rows without padding beside them follow each other.
  const bool whole = b.columns == g.w;
  const i64 step = whole ? at_least(i64(1), end - begin) : 1;
  for (i64 c = 0; c < (b.pixel == 1 ? b.channels : 1); c++) {
    T* const plane = to + c * b.channel * size;
    zeros(plane, begin * b.row);
    for (i64 r = begin; r < end; r += step) {
      T* const line = plane + r * b.row * size;
      zeros(line, left * b.pixel);
      run_to_lanes(line + left * b.pixel * size, size, from + c * at.channel + (y + r) * g.w * at.pixel,
                   {0, at.image, 1}, images, step * g.w * b.pixel);
      zeros(line + (left + g.w) * b.pixel * size, (b.columns - left - g.w) * b.pixel);
    }
    zeros(plane + end * b.row * size, (b.rows - end) * b.row);
  }
}

// The sums of block number `i`: of dw as it lies.
template <class T>
CHAINRULE_INLINE void gradient_of_block(T* dw, bool add, const T* dy, const T* x, const Conv2d& conv, const Sizes& s,
                                        const BatchGradientCut<T>& cut, i64 i, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const Window2d& g = conv.window;
  const i64 first = i / cut.bands * size, images = at_most(size, conv.batch - first);
  const i64 row = i % cut.bands * cut.rows, rows = at_most(cut.rows, g.oh - row);
  const Block from(s.x, s.in, cut.rows_seen(g, rows), cut.columns), to(s.y, s.out, rows, g.ow);
  T* const pixels = scratch;
  T* const outputs = pixels + cut.x;
  i32* const offset = reinterpret_cast<i32*>(outputs + cut.dy);
  padded_block(pixels, from, x + first * s.x.image, s.x, images, row * g.sh - g.ph, g.pw, g);
  block_from_images(outputs, to, dy + first * s.y.image + row * g.ow * s.y.pixel, s.y, images);
  const i64 depth = s.in * s.taps;
  for (i64 k = 0; k < depth; k++) {
    const i64 tap = k % s.taps;
    offset[k] = i32((k / s.taps * from.channel + tap / g.kw * g.dh * from.row + tap % g.kw * g.dw * from.pixel) * size);
  }
  const DotBand band{
      rows, g.ow, to.channel * size, to.row * size, to.pixel * size, g.sh * from.row * size, g.sw * from.pixel * size,
      add};
  const i64 k_tiles = ceil_div(depth, i64(kDotTerms)), o_tiles = ceil_div(s.out, i64(kDotOutputs));
  for (i64 j = 0; j < o_tiles; j++)
    for (i64 t = 0; t < k_tiles; t++) {
      const i64 k = t * depth / k_tiles, o = j * s.out / o_tiles;
      batch_dots(dw + o * depth + k, depth, (j + 1) * s.out / o_tiles - o, (t + 1) * depth / k_tiles - k,
                 outputs + o * band.dy_channel, pixels, offset + k, band);
    }
}

template <class T>
CHAINRULE_INLINE void batch_gradient(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s,
                                     T* scratch) {
  const BatchGradientCut<T> cut(conv, s);
  T* const own = scratch + team.rank() * cut.own;
  T* const partials = cut.chunks > 1 ? scratch + team.size() * cut.own : dw;
  parallel_for(team, cut.chunks, 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; c++)
      for (i64 i = c * cut.chunk; i < at_most(cut.blocks, (c + 1) * cut.chunk); i++)
        gradient_of_block(partials + c * cut.weights, i > c * cut.chunk, dy, x, conv, s, cut, i, own);
  });
  if (cut.chunks == 1) return;
  team.barrier();
  add_partials(team, dw, partials, cut.chunks, cut.weights);
}

// By the shape alone, for the sums' order is its own. What transposing and empty lanes cost is compared with what dot
// products of planes take beyond the products themselves, more of it for short or strided rows. Grouped images can't be
// transposed whole in channels_last.
template <class T>
CHAINRULE_INLINE bool worth_batch_gradient(const Conv2d& conv, const Sizes& s) {
  const Window2d& g = conv.window;
  if (conv.groups > 1 || conv.batch == 0 || s.taps == 1) return false;
  const i64 products = products_of(g, s.in, s.out);
  const i64 full = products * round_up(conv.batch, i64(vec<T>::size)) / conv.batch;
  const i64 dots = products / 10 * (g.ow < vec<T>::size || g.sw > 1 ? 15 : 12);
  if (full + kTransposing * elements_of(g, s.in, s.out) >= dots) return false;
  const BatchGradientCut<T> cut(conv, s);
  return cut.x + cut.dy <= cut.kRoom;
}

}  // namespace chainrule::CHAINRULE_ISA
