// conv2d:                 y[n, o, v, u] = f(z), z = (sum over c, ky, kx of w[o, c, ky, kx] x[n, c, iy, ix]) + bias[o] +
//                         residual[n, o, v, u], where wanted
//                         iy = v * stride - padding + ky * dilation, x = 0 outside; c runs over o's group
// conv2d_backward_input:  dx[n, c, iy, ix] = sum over o, ky, kx of w[o, c, ky, kx] dy[n, o, v, u]
// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix]
// conv2d_backward_bias:   db[o] = sum over n, v, u of dy[n, o, v, u]
// x (batch, cin, h, w), w (cout, cin / groups, kh, kw), y and residual (batch, cout, oh, ow): images in one memory
// format, w plain. bias, residual: or null.
//
// The gradients are in conv_input.cpp and conv_weight.cpp. docs/numerics.md has the order of the sums.
#include "conv_planes.h"
#include "conv_sizes.h"
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
void conv2d_depthwise(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch) {
  const View view = view_of(conv.window);
  const Phases phases{conv.window, false};
  if (worth_channel_lanes<T>(s, phases)) return depthwise_lanes(team, a, s, phases, scratch);
  if (!planar(conv)) return depthwise_pixels(team, a, s, phases, scratch);
  const RowEpilogue<T> epilogue{a.epilogue};
  const PlaneParts parts(view);
  T* const storage = scratch + team.rank() * part_room<T>(view);
  const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), s.size * s.out * s.taps));
  parallel_for(team, s.products, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      T* const planes = a.y + s.y_at(i);
      const i64 group = i % s.groups;
      const T* const plane = a.x + s.x_at(i);
      parts.each(plane, storage, [&](i64 row, const Band& band, const i32* offset) {
        const NextPlane next = NextPlane::if_large(plane + s.image, s.image, row, band.view.rows, view.rows);
        for (i64 o = 0; o < s.out; o++)
          depthwise_sums(planes + o * s.size + row * view.columns, view.columns, storage, offset, a.w.at(group, o),
                         band, next);
      });
      epilogue(planes, s.size, group * s.out, s.out, 0, s.size);
    }
  });
}

// A pointwise convolution is a product of plain matrices; everything else goes by planes.
template <class T>
Grid forward_grid(const Sizes& s) {
  return grid_of<T>(s.products, s.out, s.size, s.in);
}

// Scratch of the planes' way: the packed weights, then for each thread planes and sums.
template <class T>
struct ForwardRoom {
  BandCut cut;
  i64 group, weights, own;  // elements: a group's packed weights, all of them, a thread's

  ForwardRoom(const Conv2d& conv, const Sizes& s)
      : cut(cut_of<T>(view_of(conv.window), s.products, s.out, s.in)),
        group(conv_tiles(s.out) * kConvRows * s.in * s.taps),
        weights(conv.groups * group),
        own(cut.storage + cut.sums) {}
};

template <class T>
void pack_weights(Team& team, T* to, const Weights<T>& w, const Conv2d& conv, const Sizes& s) {
  const i64 depth = s.in * s.taps, tiles = conv_tiles(s.out);
  const TapList y{conv.window.kh, 0, 1}, x{conv.window.kw, 0, 1};
  parallel_for(team, conv.groups * tiles, ceil_div(kFlatGrain, depth * kConvRows), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 tile = i % tiles, row = conv_tile_row(tile, s.out);
      w.pack(to + i * depth * kConvRows, i / tiles, row, conv_tile_row(tile + 1, s.out) - row, s.in, y, x);
    }
  });
}

template <class T>
void conv2d_planes(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch,
                   Wanted<T> wanted) {
  const View view = view_of(conv.window);
  const ForwardRoom<T> room(conv, s);
  const BandCut& cut = room.cut;
  const i64 depth = s.in * s.taps;
  const RowEpilogue<T> epilogue{a.epilogue}, rest = after_moving(epilogue);
  pack_weights(team, scratch, a.w, conv, s);
  team.barrier();
  T* const storage = scratch + room.weights + team.rank() * room.own;
  T* const sums = storage + cut.storage;
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), s.out * depth * cut.rows * cut.columns));
  parallel_for(team, s.products * cut.bands(), grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / cut.bands(), group = product % s.groups, first = group * s.out;
      if (!wanted(product)) continue;
      i64 row, column;
      const Band band = band_of(band_view(view, cut, i % cut.bands(), &row, &column));
      T* const planes = a.y + s.y_at(product) + row * view.columns + column;
      // Whole rows without gaps, and no span to add: the sums grow where y lies.
      const bool in_place = band.pitch == view.columns && depth <= kSpanK;
      T* const to = in_place ? planes : sums;
      const i64 positions = band.positions(), ld = in_place ? s.size : positions;
      band_sums(to, ld, in_place, s.out, scratch + group * room.group, a.x + s.x_at(product), s.in, band, storage,
                sums + s.out * ld);
      (in_place ? epilogue : before_moving(epilogue))(to, ld, first, s.out, 0, positions);
      if (in_place) continue;
      for (i64 o = 0; o < s.out; o++)
        for (i64 v = 0; v < band.view.rows; v++) {
          T* const line = planes + o * s.size + v * view.columns;
          add_part(line, 0, sums + o * ld + v * band.pitch, 0, 1, band.view.columns, false);
          rest(line, 0, 0, 1, 0, band.view.columns);
        }
    }
  });
}

CHAINRULE_INLINE LaneFilter forward_lanes(const Conv2d& conv, const Sizes& s) { return {s, {conv.window, false}}; }

template <class T>
CHAINRULE_INLINE bool by_lanes(const Conv2d& conv, const Sizes& s) {
  return !planar(conv) || worth_lanes<T>(view_of(conv.window), s.in, s.out);
}

template <class T>
i64 direct_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  if (by_lanes<T>(conv, s)) return lanes_scratch<T>(forward_lanes(conv, s), threads);
  const ForwardRoom<T> room(conv, s);
  return room.weights + threads * room.own;
}

template <class T>
void conv2d_direct(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch,
                   Wanted<T> wanted = {}) {
  if (by_lanes<T>(conv, s))
    filter_lanes(team, a, forward_lanes(conv, s), scratch, wanted);
  else
    conv2d_planes(team, a, conv, s, scratch, wanted);
}

CHAINRULE_INLINE Filter forward_filter(const Conv2d& conv, const Sizes& s) {
  return filter_of(view_of(conv.window), s);
}

// A pointwise convolution of pixels: all of them are rows of one product a group.
template <class T>
Grid pixel_grid(const Conv2d& conv, const Sizes& s) {
  return keeping(grid_of<T>(conv.groups, conv.batch * s.size, s.out, s.in));
}

template <class T>
void conv2d_pointwise(Team& team, const ConvArrays<T>& a, const Conv2d& conv, const Sizes& s, T* scratch) {
  if (!planar(conv))
    return products<T>(team, conv.groups, pixel_grid<T>(conv, s), scratch, [&](i64 g) {
      ColumnEpilogue<T> epilogue{a.epilogue};
      if (epilogue.bias) epilogue.bias += g * s.out;
      return product_of(a.y + s.y_at(g), conv.cout, false, PlainRows<T>{a.x + s.x_at(g), conv.cin},
                        TransposedColumns<T>{a.w.at(g, 0), s.in}, epilogue);
    });
  const Grid grid = forward_grid<T>(s);
  products<T>(team, s.products, grid, scratch, [&](i64 i) {
    const i64 g = i % s.groups;
    RowEpilogue<T> epilogue{a.epilogue};
    if (epilogue.bias) epilogue.bias += g * s.out;
    return product_of(a.y + s.y_at(i), s.size, false, PlainRows<T>{a.w.at(g, 0), s.in},
                      PlainColumns<T>{a.x + s.x_at(i), s.image, worth_reading_direct<T>(grid, s.image)}, epilogue);
  });
}

}  // namespace

template <class T>
i64 conv2d_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  if (worth_transforming<T>(view, s.products, s.in, s.out))
    return filter_scratch<T>(forward_filter(conv, s), threads, direct_scratch<T>(conv, s, threads));
  if (depthwise(s.out, s.in, view)) {
    const Phases phases{conv.window, false};
    if (worth_channel_lanes<T>(s, phases)) return depthwise_lanes_scratch<T>(s, phases, threads);
    if (!planar(conv)) return pixels_room<T>(s, phases);
    return threads * part_room<T>(view);
  }
  if (pointwise(conv) || s.in == 0)
    return planar(conv) ? products_scratch<T>(s.products, forward_grid<T>(s), threads)
                        : products_scratch<T>(conv.groups, pixel_grid<T>(conv, s), threads);
  const i64 direct = direct_scratch<T>(conv, s, threads);
  const LaneFilter f = forward_lanes(conv, s);
  return worth_batch<T>(f) ? at_least(direct, BatchCut<T>(f).scratch(f, threads)) : direct;
}

template <class T>
void conv2d(Team& team, T* y, const T* x, const T* w, const T* bias, const T* residual, const Conv2d& conv,
            Activation activation, T* scratch) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  const ConvArrays<T> a{y, x, forward_weights(w, conv, s), {bias, activation, y, residual}};
  if constexpr (kTransforms<T>)
    if (worth_transforming<T>(view, s.products, s.in, s.out))
      return convolve_by_transforms(team, a, forward_filter(conv, s), scratch,
                                    [&](T* room, Wanted<T> wanted) { conv2d_direct(team, a, conv, s, room, wanted); });
  if (depthwise(s.out, s.in, view)) return conv2d_depthwise(team, a, conv, s, scratch);
  if (pointwise(conv) || s.in == 0) return conv2d_pointwise(team, a, conv, s, scratch);
  if (worth_batch<T>(forward_lanes(conv, s)) && all_finite(w, conv.cout * s.in * s.taps))
    return filter_batch(team, a, forward_lanes(conv, s), scratch);
  conv2d_direct(team, a, conv, s, scratch);
}

template <class T>
i64 conv2d_backward_bias_scratch(i64 batch, i64 channels, Format format, i64) {
  return format == Format::channels_first ? 0 : batch * vec<T>::size * round_up(channels, vec<T>::size);
}

// Both formats add in one order: position p of an image to lane p % size of its sum, images in turn, the lanes in a
// tree. Of channels_last images a lane is a vec of channels.
template <class T>
void conv2d_backward_bias(Team& team, T* db, const T* dy, i64 batch, i64 channels, i64 size, Format format,
                          T* scratch) {
  constexpr i64 lanes = vec<T>::size;
  if (format == Format::channels_first)
    return parallel_for(team, channels, ceil_div(kFlatGrain, at_least(i64(1), batch * size)), [&](i64 begin, i64 end) {
      for (i64 c = begin; c < end; c++) {
        vec<T> total(0);
        for (i64 n = 0; n < batch; n++) {
          const T* const plane = dy + (n * channels + c) * size;
          vec<T> image(0);
          for (i64 i = 0; i < size; i += lanes) image = image + load(plane + i, at_most(size - i, lanes));
          total = total + image;
        }
        db[c] = sum(total);
      }
    });
  const i64 vecs = ceil_div(channels, lanes);
  const auto sums = [&](i64 n, i64 c) { return scratch + (n * vecs + c) * lanes * lanes; };
  const auto wide = [&](i64 c) { return at_most(lanes, channels - c * lanes); };
  parallel_for(team, batch * vecs, ceil_div(kFlatGrain, at_least(i64(1), lanes * size)), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 n = i / vecs, c = i % vecs;
      const T* const pixels = dy + n * size * channels + c * lanes;
      vec<T> image[vec<T>::size];
      for (i64 l = 0; l < lanes; l++) image[l] = vec<T>(0);
      for (i64 p = 0; p < size; p += lanes)
        for (i64 l = 0; l < at_most(lanes, size - p); l++)
          image[l] = image[l] + load(pixels + (p + l) * channels, wide(c));
      for (i64 l = 0; l < lanes; l++) store(sums(n, c) + l * lanes, image[l]);
    }
  });
  team.barrier();
  parallel_for(team, vecs, ceil_div(kFlatGrain, at_least(i64(1), batch * lanes)), [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; c++) {
      vec<T> total[vec<T>::size];
      for (i64 l = 0; l < lanes; l++) total[l] = vec<T>(0);
      for (i64 n = 0; n < batch; n++)
        for (i64 l = 0; l < lanes; l++) total[l] = total[l] + load(sums(n, c) + l * lanes);
      for (i64 half = lanes / 2; half > 0; half /= 2)
        for (i64 l = 0; l < half; l++) total[l] = total[l] + total[l + half];
      store(db + c * lanes, total[0], wide(c));
    }
  });
}

INSTANTIATE(conv2d)
INSTANTIATE(conv2d_scratch)
INSTANTIATE(conv2d_backward_bias)
INSTANTIATE(conv2d_backward_bias_scratch)

}  // namespace chainrule::CHAINRULE_ISA
