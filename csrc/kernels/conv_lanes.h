// How a convolution multiplies in lanes: a band of pixels is copied once, padded with zeros, to vecs of channels
// (lanes.h); a row of the register tile is a position, a column an output channel. A term k = (channel, ty, tx) of all
// positions lies at one offset in the copy, neighbouring positions a vec apart, so that a tap is a shift and no channel
// is padded in the product. The order of the sums is that of conv_planes.h, which the same convolutions may take: a
// tile of packed weights times shifted runs of planes is faster for few outputs or short rows.
#pragma once
#include "conv_arrays.h"
#include "conv_phases.h"
#include "conv_planes.h"

namespace chainrule::CHAINRULE_ISA {

// A tile's rows: positions of a copy in lanes.
template <class T>
struct LaneRows {
  const T* data;
  const i32* offset;
  CHAINRULE_INLINE T operator()(i64 r, i64 k) const { return data[offset[k] + r * vec<T>::size]; }
};

// The columns of a plane that a band's runs see: those that a line of it in lanes must hold.
CHAINRULE_INLINE Span columns_seen(const Band& b) {
  const View& v = b.view;
  i64 least = 0, most = 0;
  for (i64 r = 0; r < b.x.runs; r++) least = at_most(least, b.x.start(r)), most = at_least(most, b.x.start(r));
  const i64 begin = at_least(i64(0), v.off_x + least);
  return {begin, at_least(begin, at_most(v.w, v.off_x + most + (b.pitch - 1) * v.step_x + 1))};
}

// Elements that copy_lanes writes to storage, and to a line.
template <class T>
CHAINRULE_INLINE i64 lanes_room(const Band& b, i64 channels) {
  return round_up(channels, vec<T>::size) * b.plane * b.x.runs * b.y.runs;
}
template <class T>
CHAINRULE_INLINE i64 line_room(const Band& b) {
  i64 reach = 0;
  for (i64 r = 0; r < b.x.runs; r++) reach = at_least(reach, b.x.start(r) < 0 ? -b.x.start(r) : b.x.start(r));
  return at_most(b.view.w, (b.pitch - 1) * b.view.step_x + 1 + 2 * reach) * vec<T>::size;
}

// One row of a run: pixels x, x + step, ... of `from`, zeros where they lie outside of the plane. from: pixel 0's
// lanes.
template <class T>
CHAINRULE_INLINE void copy_pixels(T* to, const T* from, i64 pixel, i64 lanes, const View& v, i64 x, i64 count) {
  constexpr i64 size = vec<T>::size;
  const Span inside = outputs_inside(count, v.step_x, x, v.w);
  for (i64 i = 0; i < inside.begin; i++) store(to + i * size, vec<T>(0));
  const i64 step = v.step_x * pixel;
  const T* at = from + (x + inside.begin * v.step_x) * pixel;
  if (lanes == size)
    for (i64 i = inside.begin; i < inside.end; i++, at += step) store(to + i * size, load(at));
  else
    for (i64 i = inside.begin; i < inside.end; i++, at += step) store(to + i * size, load(at, lanes));
  for (i64 i = inside.end; i < count; i++) store(to + i * size, vec<T>(0));
}

// What a band sees of an image, in lanes: blocks of a vec of channels, of which each has the planes of all runs. image:
// the first channel; line: line_room() elements.
template <class T>
CHAINRULE_OUT_OF_LINE void copy_lanes(T* storage, const T* image, const Images& at, i64 channels, const Band& b,
                                      T* line) {
  constexpr i64 size = vec<T>::size;
  const View& v = b.view;
  const Span seen = columns_seen(b);
  for (i64 c = 0; c < channels; c += size, storage += b.plane * b.x.runs * b.y.runs * size)
    for (i64 ry = 0; ry < b.y.runs; ry++)
      for (i64 j = 0; j < v.rows + b.y.reach; j++) {
        const i64 y = v.off_y + b.y.start(ry) + j * v.step_y, channels_left = at_most(size, channels - c);
        T* const to = storage + (ry * b.plane + j * b.pitch) * size;
        const auto row = [&](i64 rx) { return to + rx * b.y.runs * b.plane * size; };
        if (y < 0 || y >= v.h) {
          for (i64 rx = 0; rx < b.x.runs; rx++)
            for (i64 i = 0; i < b.pitch; i++) store(row(rx) + i * size, vec<T>(0));
          continue;
        }
        const T* const from = image + c * at.channel + y * v.w * at.pixel;
        if (at.planar()) run_to_lanes(line, size, from + seen.begin, at, channels_left, seen.end - seen.begin);
        for (i64 rx = 0; rx < b.x.runs; rx++) {
          const i64 x = v.off_x + b.x.start(rx);
          if (at.planar())
            copy_pixels(row(rx), line - seen.begin * size, size, size, v, x, b.pitch);
          else
            copy_pixels(row(rx), from, at.pixel, channels_left, v, x, b.pitch);
        }
      }
}

// Where the terms k = (channel, ty, tx) of a band's first position lie.
template <class T>
CHAINRULE_INLINE void lane_offsets(i32* offset, i64 channels, const Band& b) {
  constexpr i64 size = vec<T>::size;
  const View& v = b.view;
  const i64 block = b.plane * b.x.runs * b.y.runs * size, taps = v.taps();
  for (i64 ty = 0; ty < v.kh; ty++)
    for (i64 tx = 0; tx < v.kw; tx++) {
      const i64 run = b.x.run(tx) * b.y.runs + b.y.run(ty);
      const i64 at = (run * b.plane + b.y.shift(ty) * b.pitch + b.x.shift(tx)) * size;
      for (i64 c = 0; c < channels; c++) offset[c * taps + ty * v.kw + tx] = i32(at + c / size * block + c % size);
    }
}

// Where sums go: position (v, u) of a band has its first output at data[v * row + u * pixel].
template <class T>
struct Sums {
  T* data;
  i64 row, pixel;
};

// The sums of at most a panel of outputs at a band's positions. weights: of the panel, kPanel of them for each k; span:
// rows of a panel for all positions where k is longer than kSpanK; c is of that shape, too, then.
template <class T>
CHAINRULE_INLINE void panel_sums(const Sums<T>& c, const T* storage, const i32* offset, const T* weights, i64 outputs,
                                 i64 depth, const Band& b, T* span) {
  constexpr i64 size = vec<T>::size, panel = kPanel<T>;
  const i64 heights = ceil_div(b.view.columns, i64(kTileRows));
  for (i64 k = 0; k < depth; k += kBlockK) {
    const i64 terms = at_most(kBlockK, depth - k);
    T* const to = k < kSpanK ? c.data : span;
    for (i64 v = 0; v < b.view.rows; v++)
      for (i64 t = 0; t < heights; t++) {
        const i64 u = t * b.view.columns / heights, end = (t + 1) * b.view.columns / heights;
        tile_of<T, kTileRows, kTileVecs>(to + v * c.row + u * c.pixel, c.pixel, end - u, outputs, k % kSpanK > 0,
                                         LaneRows<T>{storage + (v * b.pitch + u) * size, offset + k},
                                         EvenRows<T>{weights + k * panel, panel}, terms);
      }
    if (k >= kSpanK && ((k + terms) % kSpanK == 0 || k + terms == depth))
      add_part(c.data, panel, span, panel, b.view.positions(), outputs, true);
  }
}

// Weights for panel_sums: `outputs` rows of a group, at most a panel of them, all of k = (channel, ky, kx).
template <class T>
CHAINRULE_INLINE void pack_panel(T* to, const Weights<T>& w, i64 group, i64 first, i64 outputs, i64 channels,
                                 const TapList& y, const TapList& x) {
  constexpr i64 panel = kPanel<T>, n = kSquare<T>;
  const bool whole = y.first == 0 && x.first == 0 && y.step == 1 && x.step == 1 && x.count == w.kw;
  if (whole) {
    // Rows of w that are transposed: all channels' taps follow each other, or a channel's.
    const i64 taps = y.count * x.count, run = w.channel == taps ? channels * taps : taps;
    for (i64 c = 0; c < channels * taps; c += run)
      for (i64 j = 0; j < panel; j += n)
        for (i64 k = 0; k < run; k += n)
          transpose_square(to + (c + k) * panel + j, panel, w.at(group, first + j, c / taps) + k, w.row,
                           at_least(i64(0), at_most(n, outputs - j)), at_most(n, run - k));
    return;
  }
  for (i64 c = 0; c < channels; c++)
    for (i64 i = 0; i < y.count; i++)
      for (i64 j = 0; j < x.count; j++, to += panel) {
        const T* const from = w.at(group, first, c) + (y.first + i * y.step) * w.kw + x.first + j * x.step;
        for (i64 o = 0; o < panel; o++) to[o] = o < outputs ? from[o * w.row] : T(0);
      }
}

// A convolution of lanes.
struct LaneFilter : ImageGroups {
  Phases phases;
};

// How the positions are cut, and scratch in elements: the packed weights by group and phase, then each thread's own.
template <class T>
struct LaneCut : BandCut {
  i64 line, offsets, own, weights;  // weights: of a group

  explicit LaneCut(const LaneFilter& f) {
    constexpr i64 kStorage = (i64(256) << 10) / sizeof(T);  // in the L2 beside a panel of weights
    const View v = f.phases.largest();
    const i64 depth = f.in * v.taps();
    const auto largest = [&](const View& b, auto&& room) {
      return most_of_phases(b, [&](const View& phase) { return room(plane_band(phase)); });
    };
    static_cast<BandCut&>(*this) = cut_bands<T>(v, f.products, f.out * depth, kStorage, [&](const View& b) {
      return largest(b, [&](const Band& band) { return lanes_room<T>(band, f.in); });
    });
    View b = v;
    b.rows = rows, b.columns = columns;
    line = largest(b, [&](const Band& band) { return line_room<T>(band); });
    sums = rows * columns * kPanel<T> * (depth > kSpanK ? 2 : 1);
    offsets = round_up(depth, vec<T>::size);
    own = storage + line + sums + offsets;
    weights = panels(f) * kPanel<T> * f.in * f.phases.taps();
  }
  CHAINRULE_INLINE static i64 panels(const LaneFilter& f) { return ceil_div(f.out, kPanel<T>); }
};

template <class T>
CHAINRULE_INLINE i64 lanes_scratch(const LaneFilter& f, i64 threads) {
  const LaneCut<T> cut(f);
  return f.groups * cut.weights + threads * cut.own;
}

// One band of one image's group, in phase `at`. x, y: the group's first channels, y's at the band's first position.
template <class T>
CHAINRULE_INLINE void band_in_lanes(T* y, const T* x, const LaneFilter& f, const T* weights, const PixelPhase& at,
                                    const Band& b, const LaneCut<T>& cut, const ColumnEpilogue<T>& epilogue, i64 group,
                                    T* scratch) {
  constexpr i64 panel = kPanel<T>;
  const View& v = b.view;
  const i64 depth = f.in * v.taps();
  T* const storage = scratch;
  T* const line = storage + cut.storage;
  T* const sums = line + cut.line;
  i32* const offset = reinterpret_cast<i32*>(sums + cut.sums);
  copy_lanes(storage, x, f.x, f.in, b, line);
  lane_offsets<T>(offset, f.in, b);
  Images where = f.y;
  where.pixel *= at.step_x;
  const i64 row = at.step_y * f.phases.width() * f.y.pixel;
  const bool in_place = !f.y.planar() && depth > 0 && depth <= kSpanK;
  for (i64 o = 0; o < f.out; o += panel) {
    const i64 outputs = at_most(panel, f.out - o);
    if (in_place) {
      panel_sums<T>({y + o, row, where.pixel}, storage, offset, weights + o * depth, outputs, depth, b, nullptr);
      for (i64 i = 0; i < v.rows; i++) epilogue(y + o + i * row, where.pixel, 0, v.columns, group * f.out + o, outputs);
      continue;
    }
    if (depth == 0)
      for (i64 i = 0; i < v.positions() * panel; i += vec<T>::size) store(sums + i, vec<T>(0));
    panel_sums<T>({sums, v.columns * panel, panel}, storage, offset, weights + o * depth, outputs, depth, b,
                  sums + v.positions() * panel);
    before_moving(epilogue)(sums, panel, 0, v.positions(), group * f.out + o, outputs);
    for (i64 c = 0; c < outputs; c += vec<T>::size)
      finish_in_image(y + (o + c) * f.y.channel, sums + c, panel, where, row, at_most(outputs - c, i64(vec<T>::size)),
                      v.rows, v.columns, epilogue);
  }
}

template <class T>
CHAINRULE_INLINE void filter_lanes(Team& team, const ConvArrays<T>& a, const LaneFilter& f, T* scratch,
                                   Wanted<T> wanted) {
  const LaneCut<T> cut(f);
  const i64 panels = cut.panels(f), phases = f.phases.count();
  parallel_for(team, f.groups * panels, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / panels, first = i % panels * kPanel<T>;
      T* to = scratch + group * cut.weights;
      for (i64 p = 0; p < phases; p++) {
        const PixelPhase at = f.phases[p];
        const i64 depth = f.in * at.view.taps();
        if (depth > 0)
          pack_panel(to + first * depth, a.w, group, first, at_most(kPanel<T>, f.out - first), f.in, at.taps_y,
                     at.taps_x);
        to += panels * kPanel<T> * depth;
      }
    }
  });
  team.barrier();
  T* const own = scratch + f.groups * cut.weights + team.rank() * cut.own;
  const i64 bands = phases * cut.bands();
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), f.out * cut.weights / at_least(i64(1), cut.panels(f)) /
                                                                   kPanel<T> / phases * cut.rows * cut.columns));
  parallel_for(team, f.products * bands, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / bands, number = i % bands / cut.bands(), group = product % f.groups;
      if (!wanted(product)) continue;
      const T* weights = scratch + group * cut.weights;
      for (i64 p = 0; p < number; p++) weights += panels * kPanel<T> * f.in * f.phases[p].view.taps();
      const PixelPhase at = f.phases[number];
      i64 row, column;
      const View view = band_view(at.view, cut, i % cut.bands(), &row, &column);
      if (view.rows <= 0 || view.columns <= 0) continue;
      const i64 corner = (at.row + row * at.step_y) * f.phases.width() + at.column + column * at.step_x;
      band_in_lanes(a.y + f.y_at(product) + corner * f.y.pixel, a.x + f.x_at(product), f, weights, at, plane_band(view),
                    cut, ColumnEpilogue<T>{a.epilogue}, group, own);
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
