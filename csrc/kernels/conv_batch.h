// How a convolution multiplies in lanes of images: a vec holds one pixel of one channel of vec<T>::size images, a
// "block" of the batch. A row of the register tile is an output channel, and every position has a tile of its own: no
// channel and no position is padded, strides cost nothing, and taps that see the padding are left out.
//
// The order of the sums is that of conv_planes.h. Terms of the padding are zeros, which change no finite sum.
#pragma once
#include "conv_lanes.h"

namespace chainrule::CHAINRULE_ISA {

// Some rows of a block in lanes: pixel (channel, row, column) is vec number channel * .channel + row * .row + column *
// .pixel. They lie as the images do.
struct Block {
  i64 channels, rows, columns;
  i64 channel, row, pixel;

  Block(const Images& at, i64 channels_, i64 rows_, i64 columns_)
      : channels(channels_),
        rows(rows_),
        columns(columns_),
        channel(at.planar() ? rows * columns : 1),
        row(at.planar() ? columns : columns * channels),
        pixel(at.planar() ? 1 : channels) {}

  CHAINRULE_INLINE i64 size() const { return channels * rows * columns; }
  // Runs of elements that follow each other in an image as in the block, and the length of one.
  CHAINRULE_INLINE i64 runs(const Images& at) const { return pixel == 1 && at.channel != channel ? channels : 1; }
  CHAINRULE_INLINE i64 run(const Images& at) const { return size() / runs(at); }
};

template <class T>
CHAINRULE_INLINE void block_from_images(T* to, const Block& b, const T* from, const Images& at, i64 images) {
  for (i64 c = 0; c < b.runs(at); c++)
    run_to_lanes(to + c * b.channel * vec<T>::size, vec<T>::size, from + c * at.channel, {0, at.image, 1}, images,
                 b.run(at));
}
template <class T>
CHAINRULE_INLINE void images_from_block(T* to, const Images& at, const T* from, const Block& b, i64 images) {
  for (i64 c = 0; c < b.runs(at); c++)
    run_from_lanes(to + c * at.channel, from + c * b.channel * vec<T>::size, vec<T>::size, {0, at.image, 1}, images,
                   b.run(at));
}

// The taps t of `count` for which first + t * delta lies in [0, size).
CHAINRULE_INLINE Span taps_seen(i64 first, i64 count, i64 delta, i64 size) {
  if (delta > 0) return taps_inside(first, count, delta, size);
  const Span turned = taps_inside(first + (count - 1) * delta, count, -delta, size);
  return {count - turned.end, count - turned.begin};
}

// The rows that rows [begin, end) of the result see.
CHAINRULE_INLINE Span rows_seen(const Phases& phases, i64 begin, i64 end) {
  const i64 h = phases.largest().h;
  Span seen{h, 0};
  for (i64 p = 0; p < phases.count(); p++) {
    const PixelPhase at = phases[p];
    const View& v = at.view;
    const Span rows = outputs_inside(v.rows, at.step_y, at.row - begin, end - begin);
    if (rows.begin == rows.end || v.kh == 0) continue;
    const i64 reach = (v.kh - 1) * v.delta_y;
    seen.begin = at_most(seen.begin, rows.begin * v.step_y + v.off_y + at_most(i64(0), reach));
    seen.end = at_least(seen.end, (rows.end - 1) * v.step_y + v.off_y + at_least(i64(0), reach) + 1);
  }
  seen.begin = at_least(i64(0), seen.begin);
  return {seen.begin, at_least(seen.begin, at_most(h, seen.end))};
}

// The runs of taps that a row of positions sees: for each channel and row of the window a run of its columns. A run's
// first term is number k; what it reads lies from x on, counted from the position's first column of the window.
struct TapRun {
  i32 k, x;
};

// What a tile multiplies: the terms of [begin, end) that lie in columns `taps` of the window, of `count` runs.
struct TapTerms {
  const TapRun* runs;
  i64 count, begin, end;
  Span taps;
  i64 step;  // elements from a tap to the next
};

// c[r] = (add ? c[r] : 0) + sum over terms of w[k * kBatchRows + r] * x[term]: a vec of images each.
template <class T, int Rows>
CHAINRULE_OUT_OF_LINE void batch_tile_fixed(T* c, i64 ldc, bool add, const T* w, const T* x, const TapTerms& t) {
  vec<T> sum[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) sum[r] = vec<T>(0);
  const i64 step = t.step, begin = t.taps.begin, end = t.taps.end;
#pragma GCC unroll 1
  for (i64 i = 0; i < t.count; i++) {
    const i64 k = t.runs[i].k, first = at_least(begin, t.begin - k);
    const T* weights = w + (k + first) * kBatchRows;
    const T* pixels = x + t.runs[i].x + first * step;
#pragma GCC unroll 1
    for (i64 j = at_most(end, t.end - k) - first; j > 0; j--, weights += kBatchRows, pixels += step) {
      const vec<T> pixel = keep(load(pixels));
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++) sum[r] = fma(vec<T>(weights[r]), pixel, sum[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) store(c + r * ldc, add ? load(c + r * ldc) + sum[r] : sum[r]);
}
template <int Rows = kBatchRows, class T>
CHAINRULE_INLINE void batch_tile(T* c, i64 ldc, i64 rows, bool add, const T* w, const T* x, const TapTerms& t) {
  if constexpr (Rows > 1)
    if (rows < Rows) return batch_tile<Rows - 1>(c, ldc, rows, add, w, x, t);
  batch_tile_fixed<T, Rows>(c, ldc, add, w, x, t);
}

// A convolution of blocks. Each is cut into bands of the result's rows; a band sees its part of the block in lanes, and
// its results are made a strip of rows at a time. Scratch in elements: the packed weights by group and phase, then each
// thread's own.
template <class T>
struct BatchCut {
  static constexpr i64 kRoom = (i64(256) << 10) / sizeof(T);  // of a band in the L2
  static constexpr i64 kStrip = (i64(24) << 10) / sizeof(T);  // in the L1
  static constexpr i64 kEnough = 8;                           // chunks
  static constexpr i64 kSmallChunk = i64(1) << 19;            // products: 5 to 10 us
  i64 blocks, rows, bands, strip;
  i64 x, y, own, weights;

  explicit BatchCut(const LaneFilter& f) : blocks(ceil_div(f.products / f.groups, i64(vec<T>::size))), rows(1) {
    const i64 height = f.phases.height(), line = f.out * f.phases.width() * vec<T>::size;
    const View v = f.phases.largest();
    const auto cut_to = [&](i64 most) {
      rows = ceil_div(height, ceil_div(height, most)), bands = ceil_div(height, rows);
      i64 seen = 0;
      for (i64 r = 0; r < height; r += rows) {
        const Span s = rows_seen(f.phases, r, at_most(height, r + rows));
        seen = at_least(seen, s.end - s.begin);
      }
      x = f.in * seen * v.w * vec<T>::size;
    };
    cut_to(height);
    while (rows > 1 && x > kRoom) cut_to(ceil_div(rows, i64(2)));
    while (rows > 1 && blocks * f.groups * bands < kEnough &&
           f.in * f.phases.taps() / f.phases.count() * rows * line >= 2 * kSmallChunk)
      cut_to(ceil_div(rows, i64(2)));
    strip = ceil_div(rows, ceil_div(rows, at_least(i64(1), kStrip / line)));
    y = strip * line;
    own = x + y + 2 * round_up(f.in * v.kh, i64(vec<T>::size));
    weights = conv_tiles<kBatchRows>(f.out) * kBatchRows * f.in * f.phases.taps();
  }
  CHAINRULE_INLINE i64 scratch(const LaneFilter& f, i64 threads) const { return f.groups * weights + threads * own; }
};

// One row of positions of one phase. y: where the first one's result lies; x: the first column of what the band sees,
// from row `top` on; row: what tap 0 sees.
template <class T>
CHAINRULE_INLINE void row_of_block(T* y, const Block& to, const T* x, const Block& from, i64 top, const LaneFilter& f,
                                   const PixelPhase& at, i64 row, const T* weights, TapRun* runs) {
  constexpr i64 size = vec<T>::size;
  const View& v = at.view;
  const Span taps_y = taps_seen(row, v.kh, v.delta_y, v.h);
  i64 count = 0;
  for (i64 c = 0; c < f.in; c++)
    for (i64 ty = taps_y.begin; ty < taps_y.end; ty++, count++)
      runs[count] = {i32((c * v.kh + ty) * v.kw),
                     i32((c * from.channel + (row + ty * v.delta_y - top) * from.row) * size)};
  const i64 depth = f.in * v.taps(), tiles = conv_tiles<kBatchRows>(f.out);
  for (i64 k = 0, first = 0, last; k == 0 || k < depth; k += kBlockK, first = last) {
    while (first > 0 && runs[first - 1].k + v.kw > k) first--;
    for (last = first; last < count && runs[last].k < k + kBlockK;) last++;
    for (i64 t = 0; t < tiles; t++) {
      const i64 channel = conv_tile_row<kBatchRows>(t, f.out);
      T* out = y + channel * to.channel * size;
      for (i64 u = 0; u < v.columns; u++, out += at.step_x * to.pixel * size) {
        const i64 column = u * v.step_x + v.off_x;
        batch_tile(out, to.channel * size, conv_tile_row<kBatchRows>(t + 1, f.out) - channel, k > 0,
                   weights + t * depth * kBatchRows, x + column * from.pixel * size,
                   {runs + first, last - first, k, k + kBlockK, taps_seen(column, v.kw, v.delta_x, v.w),
                    v.delta_x * from.pixel * size});
      }
    }
  }
}

// Bias, residual and activation, and back to where images lie. y: their first pixel.
template <class T>
CHAINRULE_INLINE void finish_block(T* y, const Images& at, T* lanes, const Block& b, i64 images, i64 channel,
                                   const Epilogue<T>& e) {
  constexpr i64 size = vec<T>::size;
  const RowEpilogue<T> epilogue{e}, rest = after_moving(epilogue);
  const i64 pixels = b.pixel == 1 ? 1 : b.rows * b.columns;  // whose channels follow each other
  for (i64 i = 0; i < pixels && !e.idle(); i++)
    before_moving(epilogue)(lanes + i * b.pixel * size, b.channel * size, channel, b.channels, 0,
                            b.size() / (b.channels * pixels) * size);
  images_from_block(y, at, lanes, b, images);
  if (e.residual)
    for (i64 n = 0; n < images; n++) rest(y + n * at.image, at.channel, 0, b.runs(at), 0, b.run(at));
}

// Rows [begin, end) of the result of `images` images from number `first` on.
template <class T>
CHAINRULE_INLINE void band_of_block(const ConvArrays<T>& a, const LaneFilter& f, const BatchCut<T>& cut, i64 first,
                                    i64 images, i64 group, i64 begin, i64 end, const T* weights, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const Span seen = rows_seen(f.phases, begin, end);
  const Block from(f.x, f.in, seen.end - seen.begin, f.phases.largest().w);
  T* const x = scratch;
  T* const y = x + cut.x;
  TapRun* const runs = reinterpret_cast<TapRun*>(y + cut.y);
  const i64 product = first * f.groups + group;
  block_from_images(x, from, a.x + f.x_at(product) + seen.begin * from.columns * f.x.pixel, f.x, images);
  for (i64 top = begin; top < end; top += cut.strip) {
    const Block to(f.y, f.out, at_most(cut.strip, end - top), f.phases.width());
    const T* packed = weights;
    for (i64 p = 0; p < f.phases.count(); p++) {
      const PixelPhase at = f.phases[p];
      for (i64 i = 0; i < to.rows; i++) {
        const i64 line = top + i - at.row;
        if (line % at.step_y == 0)
          row_of_block(y + (i * to.row + at.column * to.pixel) * size, to, x, from, seen.begin, f, at,
                       line / at.step_y * at.view.step_y + at.view.off_y, packed, runs);
      }
      packed += conv_tiles<kBatchRows>(f.out) * kBatchRows * f.in * at.view.taps();
    }
    finish_block(a.y + f.y_at(product) + top * to.columns * f.y.pixel, f.y, y, to, images, group * f.out, a.epilogue);
  }
}

template <class T>
CHAINRULE_INLINE void filter_batch(Team& team, const ConvArrays<T>& a, const LaneFilter& f, T* scratch) {
  const BatchCut<T> cut(f);
  const i64 tiles = conv_tiles<kBatchRows>(f.out), batch = f.products / f.groups, height = f.phases.height();
  parallel_for(team, f.groups * tiles, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / tiles, tile = i % tiles, row = conv_tile_row<kBatchRows>(tile, f.out);
      T* to = scratch + group * cut.weights;
      for (i64 p = 0; p < f.phases.count(); p++) {
        const PixelPhase at = f.phases[p];
        const i64 packed = f.in * at.view.taps() * kBatchRows;
        a.w.template pack<kBatchRows>(to + tile * packed, group, row, conv_tile_row<kBatchRows>(tile + 1, f.out) - row,
                                      f.in, at.taps_y, at.taps_x);
        to += tiles * packed;
      }
    }
  });
  team.barrier();
  T* const own = scratch + f.groups * cut.weights + team.rank() * cut.own;
  parallel_for(team, cut.blocks * f.groups * cut.bands, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 first = i / (f.groups * cut.bands) * vec<T>::size, group = i / cut.bands % f.groups;
      const i64 row = i % cut.bands * cut.rows;
      band_of_block(a, f, cut, first, at_most(i64(vec<T>::size), batch - first), group, row,
                    at_most(height, row + cut.rows), scratch + group * cut.weights, own);
    }
  });
}

// Products and elements that are transposed of an image, of one group; an element takes as long as so many products.
CHAINRULE_INLINE i64 products_of(const Window2d& g, i64 cin, i64 cout) {
  return cin * g.kh * g.kw * cout * g.oh * g.ow;
}
CHAINRULE_INLINE i64 elements_of(const Window2d& g, i64 cin, i64 cout) { return cin * g.h * g.w + cout * g.oh * g.ow; }
constexpr i64 kTransposing = 13;

// Whether lanes of images pay, a rule that the bits don't depend on: images fill them, and what is transposed is used
// often, or lanes of channels would be padded with more products than transposing takes time.
template <class T>
CHAINRULE_INLINE bool worth_batch(const LaneFilter& f) {
  constexpr i64 kLeastUse = 36;  // products of an element
  const i64 batch = f.products / f.groups;
  if (batch * 4 < round_up(batch, vec<T>::size) * 3 || batch == 0 || (!f.y.planar() && f.groups > 1)) return false;
  const Window2d& g = f.phases.window;
  const i64 cin = f.phases.of_gradient ? f.out : f.in, cout = f.phases.of_gradient ? f.in : f.out;
  const i64 products = products_of(g, cin, cout), elements = elements_of(g, cin, cout);
  const i64 padding = f.y.planar() ? 0 : products / f.out * (round_up(f.out, vec<T>::size) - f.out);
  if (products < kLeastUse * elements && padding < kTransposing * elements) return false;
  const BatchCut<T> cut(f);
  return cut.x + cut.y <= 2 * BatchCut<T>::kRoom && f.in * f.phases.largest().taps() <= kSpanK;
}

}  // namespace chainrule::CHAINRULE_ISA
