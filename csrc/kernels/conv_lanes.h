// How a convolution multiplies in lanes: a band of pixels is copied once, padded with zeros, to vecs of channels
// (lanes.h); a row of the register tile is a position, a column an output channel. A term k = (channel, ty, tx) of all
// positions lies at one offset in the copy, neighbouring positions a vec apart, so that a tap is a shift and no channel
// is padded in the product. The order of the sums is that of conv_planes.h, which the same convolutions may take: a
// tile of packed weights times shifted runs of planes is faster where outputs don't fill vecs.
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

// Where sums go: position (v, u) of a band has its first output at data[v * row + u * pixel]. span: the same again, for
// the sums of a later span before they are added; null where k is no longer than kSpanK.
template <class T>
struct Sums {
  T *data, *span;
  i64 row, pixel;
  CHAINRULE_INLINE i64 at(i64 v, i64 u) const { return v * row + u * pixel; }
};

// What a tile's products need of a band: its copy in lanes, where the terms lie there, and the weights.
template <class T>
struct LaneBand {
  Band band;
  i64 depth;
  const T* storage;
  const i32* offset;
  const T* weights;  // a panel's after the other's, kPanel of them for each k
};

// The sums of a panel's outputs at a band's positions. first: the panel's first output.
template <class T>
CHAINRULE_INLINE void panel_sums(const Sums<T>& c, const LaneBand<T>& from, i64 first, i64 outputs) {
  constexpr i64 size = vec<T>::size, panel = kPanel<T>;
  const Band& b = from.band;
  const i64 heights = ceil_div(b.view.columns, i64(kTileRows)), depth = from.depth;
  for (i64 v = 0; v < b.view.rows && depth == 0; v++)
    for (i64 u = 0; u < b.view.columns; u++)
      for (i64 o = 0; o < outputs; o += size) store(c.data + c.at(v, u) + o, vec<T>(0), outputs - o);
  for (i64 k = 0; k < depth; k += kBlockK) {
    const i64 terms = at_most(kBlockK, depth - k);
    T* const to = k < kSpanK ? c.data : c.span;
    for (i64 v = 0; v < b.view.rows; v++)
      for (i64 t = 0; t < heights; t++) {
        const i64 u = t * b.view.columns / heights, end = (t + 1) * b.view.columns / heights;
        tile_of<T, kTileRows, kTileVecs>(to + c.at(v, u), c.pixel, end - u, outputs, k % kSpanK > 0,
                                         LaneRows<T>{from.storage + (v * b.pitch + u) * size, from.offset + k},
                                         EvenRows<T>{from.weights + first * depth + k * panel, panel}, terms);
      }
    if (k >= kSpanK && ((k + terms) % kSpanK == 0 || k + terms == depth))
      for (i64 v = 0; v < b.view.rows; v++)
        add_part(c.data + c.at(v, 0), c.pixel, c.span + c.at(v, 0), c.pixel, b.view.columns, outputs, true);
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
  static constexpr i64 kMostTogether = 4;
  Phases phases;
  // Phases of one row that are computed together: planes get whole rows of them. Pixels of one channel are planes, too.
  CHAINRULE_INLINE i64 together() const {
    const i64 columns = phases.of_gradient && y.planar() ? columns_of_phases(phases.window) : 1;
    return columns <= kMostTogether ? columns : 1;
  }
};

// How the positions are cut, and scratch in elements: the packed weights by group and phase, then each thread's own.
template <class T>
struct LaneCut : BandCut {
  i64 line, offsets, own, weights;  // weights: of a group

  explicit LaneCut(const LaneFilter& f) {
    constexpr i64 kStorage = (i64(256) << 10) / sizeof(T);  // in the L2 beside a panel of weights
    const View v = f.phases.largest();
    const i64 depth = f.in * v.taps(), together = f.together();
    const auto largest = [&](const View& b, auto&& room) {
      return most_of_phases(b, [&](const View& phase) { return room(plane_band(phase)); });
    };
    static_cast<BandCut&>(*this) = cut_bands<T>(v, f.products, together * f.out * depth, kStorage, [&](const View& b) {
      return largest(b, [&](const Band& band) { return lanes_room<T>(band, f.in); });
    });
    View b = v;
    b.rows = rows, b.columns = columns;
    line = largest(b, [&](const Band& band) { return line_room<T>(band); });
    sums = together * rows * columns * kPanel<T> * (depth > kSpanK ? 2 : 1);
    offsets = round_up(depth, vec<T>::size);
    own = together * (storage + offsets) + line + sums;
    weights = panels(f) * kPanel<T> * f.in * f.phases.taps();
  }
  CHAINRULE_INLINE static i64 panels(const LaneFilter& f) { return ceil_div(f.out, kPanel<T>); }
};

template <class T>
CHAINRULE_INLINE i64 lanes_scratch(const LaneFilter& f, i64 threads) {
  const LaneCut<T> cut(f);
  return f.groups * cut.weights + threads * cut.own;
}

// Band number `number` of one image's group, in the phases from `first` on that are computed together. x, y: the
// group's first channels; weights: of the first phase.
template <class T>
CHAINRULE_INLINE void band_in_lanes(T* y, const T* x, const LaneFilter& f, const T* weights, i64 first, i64 number,
                                    const LaneCut<T>& cut, const ColumnEpilogue<T>& epilogue, i64 group, T* scratch) {
  constexpr i64 panel = kPanel<T>;
  const i64 together = f.together();
  T* const line = scratch + together * (cut.storage + cut.offsets);
  T* const sums = line + cut.line;
  LaneBand<T> part[LaneFilter::kMostTogether];
  i64 row, column, rows = 0, width = 0;
  bool spans = false;
  for (i64 p = 0; p < together; p++, scratch += cut.storage + cut.offsets) {
    const View view = f.phases[first + p].view;
    i32* const offset = reinterpret_cast<i32*>(scratch + cut.storage);
    part[p] = {plane_band(band_view(view, cut, number, &row, &column)), f.in * view.taps(), scratch, offset, weights};
    weights += cut.panels(f) * panel * part[p].depth;
    View& v = part[p].band.view;
    v.columns = at_least(i64(0), v.columns);
    if (v.rows <= 0 || v.columns == 0) continue;
    rows = v.rows, width += v.columns, spans |= part[p].depth > kSpanK;
    copy_lanes(scratch, x, f.x, f.in, part[p].band, line);
    lane_offsets<T>(offset, f.in, part[p].band);
  }
  if (width == 0) return;
  const PixelPhase at = f.phases[first];
  const i64 line_of_y = at.step_y * f.phases.width() * f.y.pixel;
  Images where = f.y;  // of a single column there is no next pixel: planes stay planes
  if (together == 1 && f.phases.width() > 1) where.pixel *= at.step_x;
  y += ((at.row + row * at.step_y) * f.phases.width() + at.column + column * at.step_x) * f.y.pixel;
  const bool in_place = !f.y.planar() && part[0].depth > 0 && !spans;
  const Sums<T> there = in_place ? Sums<T>{y, nullptr, line_of_y, where.pixel}
                                 : Sums<T>{sums, sums + rows * width * panel, width * panel, together * panel};
  for (i64 o = 0; o < f.out; o += panel) {
    const i64 outputs = at_most(panel, f.out - o);
    for (i64 p = 0; p < together; p++) {
      Sums<T> c = there;
      c.data += in_place ? o : p * panel, c.span += in_place ? 0 : p * panel;
      panel_sums(c, part[p], o, outputs);
    }
    if (in_place) {
      for (i64 i = 0; i < rows; i++) epilogue(y + o + i * line_of_y, where.pixel, 0, width, group * f.out + o, outputs);
      continue;
    }
    before_moving(epilogue)(sums, panel, 0, rows * width, group * f.out + o, outputs);
    for (i64 c = 0; c < outputs; c += vec<T>::size)
      finish_in_image(y + (o + c) * f.y.channel, sums + c, panel, where, line_of_y,
                      at_most(outputs - c, i64(vec<T>::size)), rows, width, epilogue);
  }
}

template <class T>
CHAINRULE_INLINE void filter_lanes(Team& team, const ConvArrays<T>& a, const LaneFilter& f, T* scratch,
                                   Wanted<T> wanted) {
  constexpr i64 kNearChannels = 16;
  const LaneCut<T> cut(f);
  const i64 panels = cut.panels(f), phases = f.phases.count();
  parallel_for(team, f.groups * panels, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / panels, first = i % panels * kPanel<T>;
      // Phases share cache lines of w: all of them before the next channels.
      const i64 most = phases > 1 ? kNearChannels : f.in;
      Weights<T> w = a.w;
      for (i64 c = 0; c < f.in; c += most, w.data += most * w.channel) {
        T* to = scratch + group * cut.weights;
        for (i64 p = 0; p < phases; p++) {
          const PixelPhase at = f.phases[p];
          const i64 taps = at.view.taps();
          if (taps > 0)
            pack_panel(to + (first * f.in + c * kPanel<T>)*taps, w, group, first, at_most(kPanel<T>, f.out - first),
                       at_most(most, f.in - c), at.taps_y, at.taps_x);
          to += panels * kPanel<T> * f.in * taps;
        }
      }
    }
  });
  team.barrier();
  T* const own = scratch + f.groups * cut.weights + team.rank() * cut.own;
  const i64 together = f.together(), bands = phases / together * cut.bands();
  const i64 positions = together * cut.rows * cut.columns;
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), f.out * cut.weights / at_least(i64(1), cut.panels(f)) /
                                                                   kPanel<T> / phases * positions));
  parallel_for(team, f.products * bands, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / bands, first = i % bands / cut.bands() * together, group = product % f.groups;
      if (!wanted(product)) continue;
      const T* weights = scratch + group * cut.weights;
      for (i64 p = 0; p < first; p++) weights += panels * kPanel<T> * f.in * f.phases[p].view.taps();
      band_in_lanes(a.y + f.y_at(product), a.x + f.x_at(product), f, weights, first, i % cut.bands(), cut,
                    ColumnEpilogue<T>{a.epilogue}, group, own);
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
