// conv2d_backward_input: dx[n, c, iy, ix] = sum over o, ky, kx of w[o, c, ky, kx] dy[n, o, v, u], as in conv.cpp.
//
// With strides, the pixels of dx fall into phases (conv_phases.h).
#include "conv_phases.h"
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

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
void pack_weights(Team& team, T* to, const T* w, const Conv2d& conv, const Sizes& s, const InputRoom<T>& room) {
  const Window2d& g = conv.window;
  const i64 tiles = conv_tiles(s.in);
  parallel_for(team, conv.groups * tiles, ceil_div(kFlatGrain, s.out * s.taps * kConvRows), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / tiles, tile = i % tiles, first = conv_tile_row(tile, s.in);
      const Weights<T> from{w + group * s.out * s.in * s.taps, s.taps, s.in * s.taps, g.kw};
      T* out = to + group * room.group;
      for (i64 py = 0; py < rows_of_phases(g); py++)
        for (i64 px = 0; px < columns_of_phases(g); px++) {
          const Phase y = row_phase(g, py), x = column_phase(g, px);
          const i64 depth = s.out * y.taps * x.taps;
          if (depth > 0)
            from.pack(out + tile * depth * kConvRows, first, conv_tile_row(tile + 1, s.in) - first, s.out, taps_of(y),
                      taps_of(x));
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

// The band's sums in phase px; returns their pitch.
template <class T>
i64 phase_sums(T* c, i64 ldc, const InputBand& b, const Phase& x, i64 columns, const T* weights, const T* dy,
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
  band_sums(c, ldc, b.s.in, weights, dy, b.s.out, band, storage, span);
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
    phase_sums(line(0, 0), b.s.image, b, column_phase(g, 0), g.w, weights_of(0), dy, storage, sums);
    return;
  }
  if (g.sw == 2 && g.w > 1) {
    const Phase even = column_phase(g, 0), odd = column_phase(g, 1);
    const i64 evens = columns_of(even), odds = columns_of(odd);
    T* const second = sums + room.cut.sums;
    phase_sums(sums, ld, b, even, evens, weights_of(0), dy, storage, sums + b.s.in * ld);
    if (odds > 0) phase_sums(second, ld, b, odd, odds, weights_of(1), dy, storage, second + b.s.in * ld);
    for (i64 c = 0; c < b.s.in; c++)
      for (i64 v = 0; v < b.rows; v++)
        interleave_row(line(c, v) + 2 * b.column, sums + c * ld + v * evens, second + c * ld + v * odds, evens + odds);
    return;
  }
  for (i64 px = 0; px < columns_of_phases(g); px++) {
    const Phase x = column_phase(g, px);
    const i64 columns = columns_of(x);
    if (columns == 0) continue;
    const i64 pitch = phase_sums(sums, ld, b, x, columns, weights_of(px), dy, storage, sums + b.s.in * ld);
    for (i64 c = 0; c < b.s.in; c++)
      for (i64 v = 0; v < b.rows; v++) {
        const T* const from = sums + c * ld + v * pitch;
        T* const to = line(c, v) + b.column * g.sw + px;
        for (i64 u = 0; u < columns; u++) to[u * g.sw] = from[u];
      }
  }
}

// One output channel and one or two inputs per group: straight from dy's plane, without strides, or from its pixels.
CHAINRULE_INLINE bool depthwise_input(const Conv2d& conv, const Sizes& s) {
  return (stride_of_one(conv) || !planar(conv)) && depthwise(s.in, s.out, unstrided_view(conv.window));
}

template <class T>
void input_depthwise_pixels(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s,
                            T* scratch) {
  const Window2d& g = conv.window;
  const DepthwisePixels<T> pixels{dx, dy, w, s.y, s.x, conv.batch, conv.cin, s.in, g.w};
  const auto each = [&](auto&& f) {
    T* weights = scratch;
    for (i64 py = 0; py < rows_of_phases(g); py++)
      for (i64 px = 0; px < columns_of_phases(g); px++) {
        const Phase y = row_phase(g, py), x = column_phase(g, px);
        const View view = view_of_phase(g, y, x);
        f(view, y, x, Placement{py, px, g.sh, g.sw}, weights);
        weights += pixels_room<T>(view, conv.cin);
      }
  };
  each([&](const View& v, const Phase& y, const Phase& x, const Placement&, T* weights) {
    pack_windows(team, weights, pixels, v, {g.kw, s.taps, y.first, y.step, x.first, x.step});
  });
  team.barrier();
  each([&](const View& v, const Phase&, const Phase&, const Placement& at, const T* weights) {
    depthwise_pixels(team, pixels, v, at, weights, NoEpilogue());
  });
}

template <class T>
void input_depthwise(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s, T* scratch) {
  const View view = unstrided_view(conv.window);
  T* const storage = scratch + team.rank() * part_room<T>(view);
  const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), s.image * s.in * s.taps));
  parallel_for(team, s.products, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++)
      each_part(dy + i * s.size, view, storage, [&](i64 row, const Band& band, const i32* offset) {
        for (i64 c = 0; c < s.in; c++)
          depthwise_sums(dx + (i * s.in + c) * s.image + row * view.columns, view.columns, storage, offset,
                         w + (i % conv.groups * s.in + c) * s.taps, band);
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

// Of all images, or of those that `again` names.
template <class T>
void input_planes(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s, T* scratch,
                  const Again<T>* again = nullptr) {
  const Window2d& g = conv.window;
  const InputRoom<T> room(conv, s);
  const BandCut& cut = room.cut;
  pack_weights(team, scratch, w, conv, s, room);
  team.barrier();
  T* const storage = scratch + room.weights + team.rank() * room.own;
  const i64 bands = rows_of_phases(g) * cut.bands();
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), s.in * s.out * s.taps * cut.rows * cut.columns));
  parallel_for(team, s.products * bands, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / bands, band = i % cut.bands(), py = i % bands / cut.bands();
      if (again && !(*again)(product)) continue;
      InputBand b{g, s, py, band / cut.across * cut.rows, 0, band % cut.across * cut.columns, row_phase(g, py)};
      b.rows = at_most(cut.rows, b.y.count - b.row);
      if (b.rows > 0)
        input_band(dx + product * s.in * s.image, dy + product * s.out * s.size, b, room,
                   scratch + product % conv.groups * room.group, storage);
    }
  });
}

CHAINRULE_INLINE LaneFilter input_lane_filter(const Conv2d& conv, const Sizes& s) {
  return {s.products, conv.groups, s.out, s.in, s.y, s.x, conv.window.w};
}
template <class T>
LaneCut<T> input_lane_cut(const Conv2d& conv, const Sizes& s) {
  return LaneCut<T>(input_lane_filter(conv, s), largest_phase(conv.window), s.taps);
}

// With strides a phase's columns lie apart in dx: no vec of planes.
template <class T>
CHAINRULE_INLINE bool by_lanes(const Conv2d& conv, const Sizes& s) {
  return !planar(conv) || (stride_of_one(conv) && worth_lanes<T>(unstrided_view(conv.window), s.out, s.in));
}

template <class T>
i64 direct_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  if (by_lanes<T>(conv, s)) return input_lane_cut<T>(conv, s).scratch(input_lane_filter(conv, s), threads);
  const InputRoom<T> room(conv, s);
  return room.weights + threads * room.own;
}

// Of all images, or of those that `again` names.
template <class T>
void input_direct(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s, T* scratch,
                  const Again<T>* again = nullptr) {
  if (!by_lanes<T>(conv, s)) return input_planes(team, dx, dy, w, conv, s, scratch, again);
  const Window2d& g = conv.window;
  const Weights<T> weights{w, s.taps, s.in * s.taps, g.kw};
  const auto phase = [&](i64 i) {
    const i64 py = i / columns_of_phases(g), px = i % columns_of_phases(g);
    const Phase y = row_phase(g, py), x = column_phase(g, px);
    return LanePhase{view_of_phase(g, y, x), taps_of(y), taps_of(x), py, px, g.sh, g.sw};
  };
  const LaneArrays<T> arrays{dx, dy, weights, s.out * s.in * s.taps, {nullptr, Activation::none}};
  filter_lanes(team, arrays, input_lane_filter(conv, s), input_lane_cut<T>(conv, s),
               rows_of_phases(g) * columns_of_phases(g), phase, scratch,
               [&](i64 product) { return !again || (*again)(product); });
}

CHAINRULE_INLINE Filter input_filter(const Conv2d& conv, const Sizes& s) {
  return filter_of(unstrided_view(conv.window), s.products, conv.groups, s.out, s.in, s.y, s.x);
}

template <class T>
CHAINRULE_INLINE bool by_winograd(const Conv2d& conv, const Sizes& s) {
  return stride_of_one(conv) && worth_transforming<T>(unstrided_view(conv.window), s.products, s.out, s.in);
}

template <class T>
void input_winograd(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, const Sizes& s, T* scratch) {
  const Filter filter = input_filter(conv, s);
  const Weights<T> weights{w, s.taps, s.in * s.taps, conv.window.kw};
  filter_planes(team, {dx, dy, weights, s.out * s.in * s.taps, nullptr, nullptr, Activation::none}, filter, scratch);
  team.barrier();
  const Again<T> again = again_of(filter, scratch);
  if (again.any(s.products))
    input_direct(team, dx, dy, w, conv, s, scratch + FilterCut<T>(filter).marks(filter), &again);
}

}  // namespace

template <class T>
i64 conv2d_backward_input_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (depthwise_input(conv, s))
    return planar(conv) ? threads * part_room<T>(unstrided_view(conv.window))
                        : round_up(conv.cin, vec<T>::size) * s.taps;
  if (pointwise(conv))
    return planar(conv) ? products_scratch<T>(s.products, input_grid<T>(s), threads)
                        : products_scratch<T>(conv.groups, input_pixel_grid<T>(conv, s), threads);
  const i64 direct = direct_scratch<T>(conv, s, threads);
  return by_winograd<T>(conv, s) ? filter_scratch<T>(input_filter(conv, s), threads, direct) : direct;
}

template <class T>
void conv2d_backward_input(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  if constexpr (kTransforms<T>)
    if (by_winograd<T>(conv, s)) return input_winograd(team, dx, dy, w, conv, s, scratch);
  if (depthwise_input(conv, s))
    return planar(conv) ? input_depthwise(team, dx, dy, w, conv, s, scratch)
                        : input_depthwise_pixels(team, dx, dy, w, conv, s, scratch);
  if (pointwise(conv)) return input_pointwise(team, dx, dy, w, conv, s, scratch);
  input_direct(team, dx, dy, w, conv, s, scratch);
}

INSTANTIATE(conv2d_backward_input)
INSTANTIATE(conv2d_backward_input_scratch)

}  // namespace chainrule::CHAINRULE_ISA
