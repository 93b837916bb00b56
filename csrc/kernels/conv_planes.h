// How a convolution multiplies without a patch matrix. The rows of a band of positions are copied once, padded with
// zeros, into planes whose shifted runs are the patches: the register tile reads a tap's view of the band at an offset.
//
// Along each axis one of two layouts is taken. Apart: each tap has its own run of the band's positions, so that they
// follow each other without gaps. Shared: the taps share a run that is longer than the band by the window's reach, and
// a tap is a shift; with a stride there is one run for each residue. Rows are shared whenever that is less to copy.
#pragma once
#include "conv_tile.h"
#include "view.h"

namespace chainrule::CHAINRULE_ISA {

// One axis of a view. Position p sees for tap t what lies at element p + shift(t) of run run(t).
struct AxisRuns {
  bool shared;
  i64 step, delta;  // of the view
  i64 runs, low, reach;

  CHAINRULE_INLINE static i64 floor_div(i64 a, i64 b) { return a >= 0 ? a / b : -ceil_div(-a, b); }
  CHAINRULE_INLINE static AxisRuns apart(i64 taps, i64 step, i64 delta) { return {false, step, delta, taps, 0, 0}; }
  CHAINRULE_INLINE static AxisRuns together(i64 taps, i64 step, i64 delta) {
    const i64 end = floor_div((taps - 1) * delta, step);
    return {true, step, delta, step, at_most(end, i64(0)), at_least(end, -end)};
  }
  CHAINRULE_INLINE i64 run(i64 t) const { return shared ? t * delta - floor_div(t * delta, step) * step : t; }
  CHAINRULE_INLINE i64 shift(i64 t) const { return shared ? floor_div(t * delta, step) - low : 0; }
  // What run r begins with, counted from what tap 0 sees at the first position; its elements are `step` apart.
  CHAINRULE_INLINE i64 start(i64 r) const { return shared ? low * step + r : r * delta; }
};

// A band of positions of one view, and where its planes lie in storage.
struct Band {
  View view;  // of these positions alone
  AxisRuns y, x;
  i64 pitch;  // positions from a row to the next
  i64 plane;  // elements of one channel's run

  // The last position of the band is the last element that is computed.
  CHAINRULE_INLINE i64 positions() const { return (view.rows - 1) * pitch + view.columns; }
};

CHAINRULE_INLINE Band band_of(const View& v) {
  Band b{v, AxisRuns::apart(v.kh, v.step_y, v.delta_y), AxisRuns::apart(v.kw, v.step_x, v.delta_x), v.columns, 0};
  const AxisRuns shared = AxisRuns::together(v.kh, v.step_y, v.delta_y);
  if (v.taps() <= kBlockK && shared.runs * (v.rows + shared.reach) < v.kh * v.rows) b.y = shared;
  b.plane = (v.rows + b.y.reach) * b.pitch;
  return b;
}

// The same, but taps may share runs along both axes: rows of positions then have gaps between them.
CHAINRULE_INLINE Band plane_band(const View& v) {
  Band b = band_of(v);
  const AxisRuns shared = AxisRuns::together(v.kw, v.step_x, v.delta_x);
  if (shared.runs * (v.columns + shared.reach) < v.kw * v.columns) b.x = shared;
  b.pitch = v.columns + b.x.reach;
  b.plane = (v.rows + b.y.reach) * b.pitch;
  return b;
}

// What one run sees of a plane: `count` rows from y on, `columns` elements from x on, a step apart. Columns outside of
// `inside` and rows outside of the plane are zero.
struct RunRows {
  i64 y, count, x, columns;
  Span inside;
};

// One row, wherever it lies. Writes whole vecs.
template <class T, int Step>
CHAINRULE_INLINE void copy_row(T* to, const T* plane, const View& v, const RunRows& r, i64 y) {
  constexpr i64 size = vec<T>::size;
  const bool outside = y < 0 || y >= v.h;
  const i64 first = outside ? r.columns : r.inside.begin, end = outside ? r.columns : r.inside.end;
  for (i64 i = 0; i < first; i += size) store(to + i, vec<T>(0));
  i64 i = first;
  for (; i < end; i += size)
    store(to + i, load_every<Step>(plane + y * v.w + r.x + i * v.step_x, v.step_x, at_most(size, end - i)));
  for (; i < r.columns; i += size) store(to + i, vec<T>(0));
}

// All ones in the lanes of [begin, end).
template <class T>
CHAINRULE_INLINE mask<T> lanes_between(i64 begin, i64 end) {
  using I = typename int_of<T>::type;
  static constexpr I kLanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  constexpr i64 size = vec<T>::size;
  static_assert(size <= 16, "the lanes' numbers");
  const vec<I> lane = load(kLanes);
  return (lane > I(at_most(begin, size) - 1)) & (lane < I(at_most(end, size)));
}

// Rows that have whole vecs around them inside the plane are read without partial loads, their borders masked away.
template <class T, int Step>
CHAINRULE_INLINE void copy_inner_rows(T* to, const T* from, i64 row, i64 count, i64 columns, mask<T> head,
                                      mask<T> tail) {
  using I = typename int_of<T>::type;
  constexpr i64 size = vec<T>::size;
  const i64 last = (columns - 1) / size * size;
  const auto read = [&](i64 i) { return load_every<Step>(from + i * Step, Step, size); };
  const auto keep = [](mask<T> m, vec<T> x) { return bitcast<T>(bitcast<I>(x) & m); };
  for (; count > 0; count--, to += columns, from += row) {
    if (last == 0) {
      store(to, keep(head & tail, read(0)));
      continue;
    }
    store(to, keep(head, read(0)));
    for (i64 i = size; i < last; i += size) store(to + i, read(i));
    store(to + last, keep(tail, read(last)));
  }
}

// The rows of one run, of `planes` planes. Each row's last vec may reach into the next row, which is written after it.
template <class T, int Step>
CHAINRULE_OUT_OF_LINE void copy_rows(T* to, const T* plane, i64 planes, const View& v, const RunRows& r) {
  constexpr i64 size = vec<T>::size;
  const i64 last = (r.columns - 1) / size * size;
  const bool simple = Step > 0 && r.inside.begin < size && r.inside.end >= last && r.inside.end > r.inside.begin;
  // The rows whose vecs, from x to x + reach, all lie in the plane.
  const i64 reach = (last + size) * Step;
  const auto within = [&](i64 y) {
    return simple && y >= 0 && y * v.w + r.x >= 0 && y * v.w + r.x + reach <= v.h * v.w;
  };
  i64 head = 0, end = r.count;
  while (head < end && !within(r.y + head * v.step_y)) head++;
  while (end > head && !within(r.y + (end - 1) * v.step_y)) end--;
  const mask<T> first_mask = lanes_between<T>(r.inside.begin, size),
                last_mask = lanes_between<T>(0, r.inside.end - last);
  for (; planes > 0; planes--, plane += v.h * v.w) {
    i64 j = 0;
    for (; j < head; j++, to += r.columns) copy_row<T, Step>(to, plane, v, r, r.y + j * v.step_y);
    if constexpr (Step > 0) {
      if (j < end)
        copy_inner_rows<T, Step>(to, plane + (r.y + j * v.step_y) * v.w + r.x, v.step_y * v.w, end - j, r.columns,
                                 first_mask, last_mask);
      to += (end - j) * r.columns;
      j = end;
    }
    for (; j < r.count; j++, to += r.columns) copy_row<T, Step>(to, plane, v, r, r.y + j * v.step_y);
  }
}

template <class T>
CHAINRULE_INLINE void copy_run(T* to, const T* plane, i64 planes, const Band& b, i64 run_y, i64 run_x) {
  const View& v = b.view;
  const i64 x = v.off_x + b.x.start(run_x);
  const RunRows rows{v.off_y + b.y.start(run_y), v.rows + b.y.reach, x, b.pitch,
                     outputs_inside(b.pitch, v.step_x, x, v.w)};
  if (v.step_x == 1)
    copy_rows<T, 1>(to, plane, planes, v, rows);
  else if (v.step_x == 2)
    copy_rows<T, 2>(to, plane, planes, v, rows);
  else
    copy_rows<T, 0>(to, plane, planes, v, rows);
}

// Copies what the terms [begin, begin + depth) of k = (channel, ty, tx) read. A window of more taps than a block has is
// copied tap by tap: a block sees part of its runs only.
template <class T>
CHAINRULE_INLINE void copy_terms(T* to, const T* image, i64 begin, i64 depth, const Band& b) {
  const View& v = b.view;
  const i64 taps = v.taps(), size = v.h * v.w, first = begin / taps;
  if (taps > kBlockK) {
    for (i64 k = 0; k < depth; k++) {
      const i64 t = (begin + k) % taps;
      copy_run(to + k * b.plane, image + (begin + k) / taps * size, 1, b, t / v.kw, t % v.kw);
    }
    return;
  }
  const i64 channels = ceil_div(begin + depth, taps) - first, run = channels * b.plane;
  for (i64 rx = 0; rx < b.x.runs; rx++)
    for (i64 ry = 0; ry < b.y.runs; ry++)
      copy_run(to + (rx * b.y.runs + ry) * run, image + first * size, channels, b, ry, rx);
}

// Where each of these terms finds what it reads in the copy. By divisions: once for planes of one shape.
CHAINRULE_INLINE void find_terms(i32* offset, i64 begin, i64 depth, const Band& b) {
  const View& v = b.view;
  const i64 taps = v.taps(), first = begin / taps, run = (ceil_div(begin + depth, taps) - first) * b.plane;
  if (taps > kBlockK) {
    for (i64 k = 0; k < depth; k++) offset[k] = i32(k * b.plane);
    return;
  }
  i64 k = first * taps - begin;  // of the first channel's first tap
  for (i64 ty = 0; ty < v.kh; ty++)
    for (i64 tx = 0; tx < v.kw; tx++, k++) {
      i64 at = (b.x.run(tx) * b.y.runs + b.y.run(ty)) * run + b.y.shift(ty) * b.pitch + b.x.shift(tx);
      for (i64 i = k; i < depth; i += taps, at += b.plane)
        if (i >= 0) offset[i] = i32(at);
    }
}
template <class T>
CHAINRULE_INLINE void copy_block(T* to, i32* offset, const T* image, i64 begin, i64 depth, const Band& b) {
  copy_terms(to, image, begin, depth, b);
  find_terms(offset, begin, depth, b);
}

// Elements of storage that copy_block writes, whatever the block.
template <class T>
CHAINRULE_INLINE i64 block_room(const Band& b, i64 channels) {
  const i64 taps = b.view.taps();
  const i64 planes =
      taps <= kBlockK ? at_most(channels, (kBlockK - 1) / taps + 2) * b.plane * b.y.runs * b.x.runs : kBlockK * b.plane;
  return planes + 2 * vec<T>::size;
}

// c[r][p] = the sums of `rows` channels at the band's positions (p = row * pitch + column; what lies between rows is
// junk), `ldc` apart. a: the packed weights; image: the first of `channels` planes. storage: block_room()
// elements; span: rows * ldc more where k is longer than kSpanK. far: c is no scratch, so it is sent for.
template <class T>
CHAINRULE_INLINE void band_sums(T* c, i64 ldc, bool far, i64 rows, const T* a, const T* image, i64 channels,
                                const Band& b, T* storage, T* span) {
  const i64 depth = channels * b.view.taps(), positions = b.positions(), tiles = conv_tiles(rows);
  constexpr i64 kMost = kConvVecs * vec<T>::size;
  for (i64 k = 0; k < depth; k += kBlockK) {
    const i64 terms = at_most(kBlockK, depth - k);
    i32 offset[kBlockK];
    copy_block(storage, offset, image, k, terms, b);
    T* const to = k < kSpanK ? c : span;
    const bool add = k % kSpanK > 0;
    for (i64 p = 0; p < positions;) {
      const i64 left = positions - p;
      // Two even tiles rather than a full one and a short one.
      const i64 n =
          left > kMost && left < 2 * kMost ? round_up(ceil_div(left, i64(2)), vec<T>::size) : at_most(kMost, left);
      for (i64 t = 0; t < tiles; t++) {
        const i64 row = conv_tile_row(t, rows), high = conv_tile_row(t + 1, rows) - row;
        if (far && k == 0) send_for_tile<T, kConvVecs>(to + row * ldc + p, ldc, high);
        conv_tile(to + row * ldc + p, ldc, high, n, add, a + (t * depth + k) * kConvRows, storage + p, offset, terms);
      }
      p += n;
    }
    if (k >= kSpanK && ((k + terms) % kSpanK == 0 || k + terms == depth))
      add_part(c, ldc, span, ldc, rows, positions, true);
  }
}

// How the positions of a view are cut into bands.
struct BandCut {
  i64 rows, columns;  // of a band
  i64 down, across;   // bands
  i64 storage, sums;  // elements that a thread needs: for planes; for sums of `outputs` channels, and spans
  CHAINRULE_INLINE i64 bands() const { return down * across; }
};

CHAINRULE_INLINE View band_view(const View& v, const BandCut& cut, i64 band, i64* row, i64* column) {
  View b = v;
  *row = band / cut.across * cut.rows, *column = band % cut.across * cut.columns;
  b.rows = at_most(cut.rows, v.rows - *row), b.columns = at_most(cut.columns, v.columns - *column);
  b.off_y += *row * v.step_y, b.off_x += *column * v.step_x;
  return b;
}

// storage(view): elements for the planes of a band; at most `most` of them if the band can be made so small. A band of
// a position takes `cost` products.
template <class T, class Storage>
CHAINRULE_INLINE BandCut cut_bands(const View& v, i64 products, i64 cost, i64 most, Storage&& storage) {
  constexpr i64 kMostPositions = 512;        // enough to use a block of weights often
  constexpr i64 kEnough = 16;                // chunks
  constexpr i64 kSmallChunk = i64(1) << 19;  // products: 5 to 10 us
  BandCut cut{v.rows, v.columns, 0, 0, 0, 0};
  if (v.rows == 0 || v.columns == 0) return cut;
  const auto room = [&] {
    View b = v;
    b.rows = cut.rows, b.columns = cut.columns;
    return storage(b);
  };
  cut.columns = ceil_div(v.columns, ceil_div(v.columns, kMostPositions));
  cut.rows = at_most(v.rows, at_least(i64(1), kMostPositions / cut.columns));
  while (cut.rows > 1 && room() > most) cut.rows = ceil_div(cut.rows, i64(2));
  while (cut.columns > 4 * vec<T>::size && room() > most) cut.columns = ceil_div(cut.columns, i64(2));
  while (cut.rows > 1 && products * ceil_div(v.rows, cut.rows) * ceil_div(v.columns, cut.columns) < kEnough &&
         cut.rows * cut.columns * cost >= 2 * kSmallChunk)
    cut.rows = ceil_div(cut.rows, i64(2));
  cut.rows = ceil_div(v.rows, ceil_div(v.rows, cut.rows));
  cut.down = ceil_div(v.rows, cut.rows);
  cut.across = ceil_div(v.columns, cut.columns);
  cut.storage = room();
  return cut;
}

// The phases of a strided input gradient have the window's taps or one less along each axis: the most that f(view) is
// for any of them.
template <class F>
CHAINRULE_INLINE i64 most_of_phases(View b, F&& f) {
  const i64 kh = b.kh, kw = b.kw;
  i64 most = 0;
  for (b.kh = at_least(i64(1), kh - 1); b.kh <= kh; b.kh++)
    for (b.kw = at_least(i64(1), kw - 1); b.kw <= kw; b.kw++) most = at_least(most, f(b));
  return most;
}

template <class T>
CHAINRULE_INLINE BandCut cut_of(const View& v, i64 products, i64 outputs, i64 channels) {
  constexpr i64 kStorage = (i64(192) << 10) / sizeof(T);  // planes that stay in the L2 beside the weights
  const i64 depth = channels * v.taps();
  BandCut cut = cut_bands<T>(v, products, outputs * depth, kStorage, [&](const View& b) {
    return most_of_phases(b, [&](const View& phase) { return block_room<T>(band_of(phase), channels); });
  });
  cut.sums = outputs * cut.rows * cut.columns * (depth > kSpanK ? 2 : 1) + vec<T>::size;
  return cut;
}

}  // namespace chainrule::CHAINRULE_ISA
