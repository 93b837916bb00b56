// conv2d_backward_input: dx[n, c, iy, ix] = sum over o, ky, kx of w[o, c, ky, kx] dy[n, o, v, u], as in conv.cpp.
//
// With strides, the pixels of dx fall into phases (conv_phases.h).
#include "conv_sizes.h"
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

CHAINRULE_INLINE Phases input_phases(const Conv2d& conv) { return {conv.window, true}; }

// Scratch: the packed weights, by group and phase; then for each thread planes and sums (of two phases that are
// interleaved where sw is 2).
template <class T>
struct InputRoom {
  BandCut cut;
  i64 row, tap, group, weights, own;

  InputRoom(const Conv2d& conv, const Sizes& s) {
    const Window2d& g = conv.window;
    cut = cut_of<T>(largest_phase(g), s.products, s.in, s.out);
    tap = conv_tiles(s.in) * kConvRows * s.out;  // elements: of one tap's packed weights, of all of a group's
    row = tap * column_taps_before(g, columns_of_phases(g));
    group = row * row_taps_before(g, rows_of_phases(g));
    weights = conv.groups * group;
    own = cut.storage + (g.sw == 2 ? 2 : 1) * cut.sums;
  }
  // The packed weights of phase (py, px).
  CHAINRULE_INLINE i64 phase(const Window2d& g, i64 py, i64 px, const Phase& y) const {
    return row_taps_before(g, py) * row + y.taps * column_taps_before(g, px) * tap;
  }
};

template <class T>
void pack_weights(Team& team, T* to, const Weights<T>& w, const Conv2d& conv, const Sizes& s,
                  const InputRoom<T>& room) {
  const Phases phases = input_phases(conv);
  const i64 tiles = conv_tiles(s.in);
  parallel_for(team, conv.groups * tiles, ceil_div(kFlatGrain, s.out * s.taps * kConvRows), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / tiles, tile = i % tiles, first = conv_tile_row(tile, s.in);
      T* out = to + group * room.group;
      for (i64 p = 0; p < phases.count(); p++) {
        const PixelPhase at = phases[p];
        const i64 depth = s.out * at.view.taps();
        if (depth > 0)
          w.pack(out + tile * depth * kConvRows, group, first, conv_tile_row(tile + 1, s.in) - first, s.out, at.taps_y,
                 at.taps_x);
        out += tiles * depth * kConvRows;
      }
    }
  });
}

// A row of dx from the sums of its even and of its odd columns.
template <class T>
CHAINRULE_INLINE void interleave_row(T* dx, const T* even, const T* odd, i64 columns) {
  constexpr i64 size = vec<T>::size;
  for (i64 i = 0; i < columns; i += 2 * size) {
    const i64 left = columns - i;
    vec<T> low, high;
    zip(load(even + i / 2, (left + 1) / 2), load(odd + i / 2, left / 2), &low, &high);
    store(dx + i, low, left);
    if (left > size) store(dx + i + size, high, left - size);
  }
}

// What one band of one row of phases needs to know.
struct InputBand {
  const Window2d& g;
  const Sizes& s;
  i64 py, row, rows, column;  // of the phases' positions
  Phase y;
};

// The band's sums in phase px, to dx (far) or scratch; returns their pitch.
template <class T>
i64 phase_sums(T* c, i64 ldc, bool far, const InputBand& b, const Phase& x, i64 columns, const T* weights, const T* dy,
               T* storage, T* span) {
  View view = view_of_phase(b.g, b.y, x);
  view.rows = b.rows, view.columns = columns;
  view.off_y += b.row, view.off_x += b.column;
  if (view.taps() == 0) {
    for (i64 i = 0; i < b.s.in; i++)
      for (i64 j = 0; j < b.rows * columns; j += vec<T>::size) store(c + i * ldc + j, vec<T>(0), b.rows * columns - j);
    return columns;
  }
  const Band band = band_of(view);
  band_sums(c, ldc, far, b.s.in, weights, dy, b.s.out, band, storage, span);
  return band.pitch;
}

// All phases of one band. dx: the group's first plane.
template <class T>
void input_band(T* dx, const T* dy, const InputBand& b, const InputRoom<T>& room, const T* weights, T* storage) {
  const Window2d& g = b.g;
  const i64 room_columns = room.cut.columns, ld = room.cut.rows * room_columns;
  T* const sums = storage + room.cut.storage;
  const auto columns_of = [&](const Phase& x) { return at_least(i64(0), at_most(room_columns, x.count - b.column)); };
  const auto weights_of = [&](i64 px) { return weights + room.phase(g, b.py, px, b.y); };
  const auto line = [&](i64 c, i64 v) { return dx + c * b.s.image + ((b.row + v) * g.sh + b.py) * g.w; };
  if (g.sw == 1 && g.sh == 1 && room_columns == g.w && b.s.out * b.s.taps <= kSpanK) {
    phase_sums(line(0, 0), b.s.image, true, b, column_phase(g, 0), g.w, weights_of(0), dy, storage, sums);
    return;
  }
  if (g.sw == 2 && g.w > 1) {
    const Phase even = column_phase(g, 0), odd = column_phase(g, 1);
    const i64 evens = columns_of(even), odds = columns_of(odd);
    T* const second = sums + room.cut.sums;
    phase_sums(sums, ld, false, b, even, evens, weights_of(0), dy, storage, sums + b.s.in * ld);
    if (odds > 0) phase_sums(second, ld, false, b, odd, odds, weights_of(1), dy, storage, second + b.s.in * ld);
    for (i64 c = 0; c < b.s.in; c++)
      for (i64 v = 0; v < b.rows; v++)
        interleave_row(line(c, v) + 2 * b.column, sums + c * ld + v * evens, second + c * ld + v * odds, evens + odds);
    return;
  }
  for (i64 px = 0; px < columns_of_phases(g); px++) {
    const Phase x = column_phase(g, px);
    const i64 columns = columns_of(x);
    if (columns == 0) continue;
    const i64 pitch = phase_sums(sums, ld, false, b, x, columns, weights_of(px), dy, storage, sums + b.s.in * ld);
    for (i64 c = 0; c < b.s.in; c++)
      for (i64 v = 0; v < b.rows; v++) {
        const T* const from = sums + c * ld + v * pitch;
        T* const to = line(c, v) + b.column * g.sw + px;
        for (i64 u = 0; u < columns; u++) to[u * g.sw] = from[u];
      }
  }
}

// One output channel and one or two inputs per group: straight from dy's plane, without strides, or from its pixels.
template <class T>
CHAINRULE_INLINE bool depthwise_input(const Conv2d& conv, const Sizes& s) {
  if (!depthwise(s.in, s.out, unstrided_view(conv.window))) return false;
  return stride_of_one(conv.window) || !planar(conv) || worth_channel_lanes<T>(s.turned(), input_phases(conv));
}

template <class T>
void input_depthwise(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch) {
  if (worth_channel_lanes<T>(s.turned(), input_phases(conv)))
    return depthwise_lanes(team, a, s.turned(), input_phases(conv), scratch);
  if (!planar(conv)) return depthwise_pixels(team, a, s.turned(), input_phases(conv), scratch);
  const View view = unstrided_view(conv.window);
  const PlaneParts parts(view);
  T* const storage = scratch + team.rank() * part_room<T>(view);
  const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), s.image * s.in * s.taps));
  parallel_for(team, s.products, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++)
      parts.each(a.x + s.y_at(i), storage, [&](i64 row, const Band& band, const i32* offset) {
        const NextPlane next = NextPlane::if_large(a.x + s.y_at(i) + s.size, s.size, row, band.view.rows, view.rows);
        for (i64 c = 0; c < s.in; c++)
          depthwise_sums(a.y + s.x_at(i) + c * s.image + row * view.columns, view.columns, storage, offset,
                         a.w.at(i % s.groups, c), band, next);
      });
  });
}

template <class T>
Grid input_grid(const Sizes& s) {
  return grid_of<T>(s.products, s.in, s.image, s.out);
}

template <class T>
Grid input_pixel_grid(const Conv2d& conv, const Sizes& s) {
  return grid_of<T>(conv.groups, conv.batch * s.image, s.in, s.out);
}

template <class T>
void input_pointwise(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s, T* scratch) {
  if (!planar(conv)) {
    const Grid grid = input_pixel_grid<T>(conv, s);
    return products<T>(team, conv.groups, grid, scratch, [&](i64 g) {
      return product_of(dx + g * s.in, conv.cin, false, PlainRows<T>{dy + g * s.out, conv.cout},
                        PlainColumns<T>{w + g * s.out * s.in, s.in, worth_reading_direct<T>(grid, s.in)}, NoEpilogue());
    });
  }
  const Grid grid = input_grid<T>(s);
  products<T>(team, s.products, grid, scratch, [&](i64 i) {
    return product_of(
        dx + i * s.in * s.image, s.image, false, TransposedRows<T>{w + i % conv.groups * s.out * s.in, s.in, s.in},
        PlainColumns<T>{dy + i * s.out * s.size, s.size, worth_reading_direct<T>(grid, s.size)}, NoEpilogue());
  });
}

template <class T>
void input_planes(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch,
                  Wanted<T> wanted) {
  const Window2d& g = conv.window;
  const InputRoom<T> room(conv, s);
  const BandCut& cut = room.cut;
  pack_weights(team, scratch, a.w, conv, s, room);
  team.barrier();
  T* const storage = scratch + room.weights + team.rank() * room.own;
  const i64 bands = rows_of_phases(g) * cut.bands();
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), s.in * s.out * s.taps * cut.rows * cut.columns));
  parallel_for(team, s.products * bands, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / bands, band = i % cut.bands(), py = i % bands / cut.bands();
      if (!wanted(product)) continue;
      InputBand b{g, s, py, band / cut.across * cut.rows, 0, band % cut.across * cut.columns, row_phase(g, py)};
      b.rows = at_most(cut.rows, b.y.count - b.row);
      if (b.rows > 0)
        input_band(a.y + s.x_at(product), a.x + s.y_at(product), b, room, scratch + product % s.groups * room.group,
                   storage);
    }
  });
}

CHAINRULE_INLINE LaneFilter input_lanes(const Conv2d& conv, const Sizes& s) { return {s.turned(), input_phases(conv)}; }

// What both ways take with strides, in positions' worth of products with all weights: planes fill their vecs with
// positions, lanes with channels of dx, where padding costs twice; and both pack the weights (measured on Zen 4).
template <class T>
CHAINRULE_INLINE bool worth_phases_in_lanes(const Conv2d& conv, const Sizes& s) {
  constexpr i64 size = vec<T>::size, kPackPlanes = 256, kPackLanes = 128;
  const View v = largest_phase(conv.window);
  const i64 planes = s.in * (conv.batch * round_up(v.positions(), size) + kPackPlanes);
  const i64 lanes = (2 * round_up(s.in, size) - s.in) * (conv.batch * v.positions() + kPackLanes);
  return columns_of_phases(conv.window) <= LaneFilter::kMostTogether && lanes <= planes;
}
template <class T>
CHAINRULE_INLINE bool by_lanes(const Conv2d& conv, const Sizes& s) {
  if (!planar(conv)) return true;
  if (!worth_lanes<T>(largest_phase(conv.window), s.out, s.in)) return false;
  return stride_of_one(conv.window) || worth_phases_in_lanes<T>(conv, s);
}

template <class T>
i64 direct_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  if (by_lanes<T>(conv, s)) return lanes_scratch<T>(input_lanes(conv, s), threads);
  const InputRoom<T> room(conv, s);
  return room.weights + threads * room.own;
}

template <class T>
void input_direct(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch,
                  Wanted<T> wanted = {}) {
  if (by_lanes<T>(conv, s))
    filter_lanes(team, a, input_lanes(conv, s), scratch, wanted);
  else
    input_planes(team, a, conv, s, scratch, wanted);
}

CHAINRULE_INLINE Filter input_filter(const Conv2d& conv, const Sizes& s) {
  return filter_of(unstrided_view(conv.window), s.turned());
}

template <class T>
CHAINRULE_INLINE bool by_winograd(const Conv2d& conv, const Sizes& s) {
  return stride_of_one(conv.window) && worth_transforming<T>(unstrided_view(conv.window), s.products, s.out, s.in);
}

}  // namespace

template <class T>
i64 conv2d_backward_input_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (depthwise_input<T>(conv, s)) {
    const Phases phases = input_phases(conv);
    if (worth_channel_lanes<T>(s.turned(), phases)) return depthwise_lanes_scratch<T>(s.turned(), phases, threads);
    if (!planar(conv)) return pixels_room<T>(s.turned(), phases);
    return threads * part_room<T>(unstrided_view(conv.window));
  }
  if (pointwise(conv))
    return planar(conv) ? products_scratch<T>(s.products, input_grid<T>(s), threads)
                        : products_scratch<T>(conv.groups, input_pixel_grid<T>(conv, s), threads);
  const i64 direct = direct_scratch<T>(conv, s, threads);
  if (by_winograd<T>(conv, s)) return filter_scratch<T>(input_filter(conv, s), threads, direct);
  const LaneFilter f = input_lanes(conv, s);
  return worth_batch<T>(f) ? at_least(direct, BatchCut<T>(f).scratch(f, threads)) : direct;
}

template <class T>
void conv2d_backward_input(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  const ConvArrays<T> a{dx, dy, turned_weights(w, conv, s), {nullptr, Activation::none}};
  if constexpr (kTransforms<T>)
    if (by_winograd<T>(conv, s))
      return convolve_by_transforms(team, a, input_filter(conv, s), scratch,
                                    [&](T* room, Wanted<T> wanted) { input_direct(team, a, conv, s, room, wanted); });
  if (depthwise_input<T>(conv, s)) return input_depthwise(team, a, conv, s, scratch);
  if (pointwise(conv)) return input_pointwise(team, dx, dy, w, conv, s, scratch);
  if (worth_batch<T>(input_lanes(conv, s)) && all_finite(w, conv.cout * s.in * s.taps))
    return filter_batch(team, a, input_lanes(conv, s), scratch);
  input_direct(team, a, conv, s, scratch);
}

INSTANTIATE(conv2d_backward_input)
INSTANTIATE(conv2d_backward_input_scratch)

}  // namespace chainrule::CHAINRULE_ISA
