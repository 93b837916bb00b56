// conv2d:                 y[n, o, v, u] = f(bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[n, c, iy, ix])
//                         iy = v * stride - padding + ky * dilation, x = 0 outside; c runs over o's group
// conv2d_backward_input:  dx[n, c, iy, ix] = sum over o, ky, kx of w[o, c, ky, kx] dy[n, o, v, u]
// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix]
// conv2d_backward_bias:   db[o] = sum over n, v, u of dy[n, o, v, u]
// x (batch, cin, h, w), w (cout, cin / groups, kh, kw), y (batch, cout, oh, ow); x and y in one memory format, w plain.
//
// The gradients are in conv_input.cpp and conv_weight.cpp. docs/numerics.md has the order of the sums.
#include "activation.h"
#include "conv_planes.h"
#include "conv_sizes.h"
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Rows of y are output channels.
template <class T>
struct ConvEpilogue {
  const T* bias;
  Activation activation;

  __attribute__((noinline)) void operator()(T* y, i64 ldy, i64 row, i64 rows, i64, i64 columns) const {
    if (!bias && activation == Activation::none) return;
    by_activation(activation, [&](auto kind) {
      for (i64 r = 0; r < rows; r++)
        for (i64 j = 0; j < columns; j += vec<T>::size) {
          const i64 lanes = at_most(columns - j, i64(vec<T>::size));
          vec<T> z = load(y + r * ldy + j, lanes);
          if (bias) z = z + vec<T>(bias[row + r]);
          store(y + r * ldy + j, activate<decltype(kind)::value>(z), lanes);
        }
    });
  }
};

template <class T>
void conv2d_depthwise(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, const Sizes& s,
                      Activation activation, T* scratch) {
  const View view = view_of(conv.window);
  if (!planar(conv)) {
    const DepthwisePixels<T> pixels{y, x, w, s.x, s.y, conv.batch, conv.cout, s.out, conv.window.ow};
    pack_windows(team, scratch, pixels, view, {conv.window.kw, s.taps, 0, 1, 0, 1});
    team.barrier();
    return depthwise_pixels(team, pixels, view, {0, 0, 1, 1}, scratch, PixelEpilogue<T>{bias, activation});
  }
  T* const storage = scratch + team.rank() * part_room<T>(view);
  const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), s.size * s.out * s.taps));
  parallel_for(team, s.products, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      T* const planes = y + i * s.out * s.size;
      const i64 first = i % conv.groups * s.out;
      each_part(x + i * s.image, view, storage, [&](i64 row, const Band& band, const i32* offset) {
        for (i64 o = 0; o < s.out; o++)
          depthwise_sums(planes + o * s.size + row * view.columns, view.columns, storage, offset,
                         w + (first + o) * s.taps, band);
      });
      ConvEpilogue<T>{bias, activation}(planes, s.size, first, s.out, 0, s.size);
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
void pack_weights(Team& team, T* to, const T* w, const Conv2d& conv, const Sizes& s) {
  const i64 depth = s.in * s.taps, tiles = conv_tiles(s.out);
  const TapList y{conv.window.kh, 0, 1}, x{conv.window.kw, 0, 1};
  parallel_for(team, conv.groups * tiles, ceil_div(kFlatGrain, depth * kConvRows), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 tile = i % tiles, row = conv_tile_row(tile, s.out);
      Weights<T>{w + i / tiles * s.out * depth, depth, s.taps, conv.window.kw}.pack(
          to + i * depth * kConvRows, row, conv_tile_row(tile + 1, s.out) - row, s.in, y, x);
    }
  });
}

// Of all images, or of those that `again` names.
template <class T>
void conv2d_planes(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, const Sizes& s,
                   Activation activation, T* scratch, const Again<T>* again = nullptr) {
  const View view = view_of(conv.window);
  const ForwardRoom<T> room(conv, s);
  const BandCut& cut = room.cut;
  const i64 depth = s.in * s.taps;
  pack_weights(team, scratch, w, conv, s);
  team.barrier();
  T* const storage = scratch + room.weights + team.rank() * room.own;
  T* const sums = storage + cut.storage;
  const i64 grain = ceil_div(kFlatGrain * 64, at_least(i64(1), s.out * depth * cut.rows * cut.columns));
  parallel_for(team, s.products * cut.bands(), grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 product = i / cut.bands(), group = product % conv.groups;
      if (again && !(*again)(product)) continue;
      i64 row, column;
      const Band band = band_of(band_view(view, cut, i % cut.bands(), &row, &column));
      const ConvEpilogue<T> epilogue{bias ? bias + group * s.out : nullptr, activation};
      T* const planes = y + product * s.out * s.size + row * view.columns + column;
      // Whole rows without gaps, and no span to add: the sums grow where y lies.
      const bool in_place = band.pitch == view.columns && depth <= kSpanK;
      T* const to = in_place ? planes : sums;
      const i64 positions = band.positions(), ld = in_place ? s.size : positions;
      band_sums(to, ld, s.out, scratch + group * room.group, x + product * s.in * s.image, s.in, band, storage,
                sums + s.out * ld);
      epilogue(to, ld, 0, s.out, 0, positions);
      for (i64 o = 0; !in_place && o < s.out; o++)
        for (i64 v = 0; v < band.view.rows; v++)
          add_part(planes + o * s.size + v * view.columns, 0, sums + o * ld + v * band.pitch, 0, 1, band.view.columns,
                   false);
    }
  });
}

CHAINRULE_INLINE LaneFilter forward_lanes(const Conv2d& conv, const Sizes& s) {
  return {s.products, conv.groups, s.in, s.out, s.x, s.y, view_of(conv.window).columns};
}
template <class T>
LaneCut<T> forward_cut(const Conv2d& conv, const Sizes& s) {
  return LaneCut<T>(forward_lanes(conv, s), view_of(conv.window), s.taps);
}

template <class T>
CHAINRULE_INLINE bool by_lanes(const Conv2d& conv, const Sizes& s) {
  return !planar(conv) || worth_lanes<T>(view_of(conv.window), s.in, s.out);
}

template <class T>
i64 direct_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  if (by_lanes<T>(conv, s)) return forward_cut<T>(conv, s).scratch(forward_lanes(conv, s), threads);
  const ForwardRoom<T> room(conv, s);
  return room.weights + threads * room.own;
}

// Of all images, or of those that `again` names.
template <class T>
void conv2d_direct(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, const Sizes& s,
                   Activation activation, T* scratch, const Again<T>* again = nullptr) {
  if (!by_lanes<T>(conv, s)) return conv2d_planes(team, y, x, w, bias, conv, s, activation, scratch, again);
  const Weights<T> weights{w, s.in * s.taps, s.taps, conv.window.kw};
  const LanePhase all{view_of(conv.window), {conv.window.kh, 0, 1}, {conv.window.kw, 0, 1}, 0, 0, 1, 1};
  filter_lanes(
      team, LaneArrays<T>{y, x, weights, s.out * s.in * s.taps, {bias, activation}}, forward_lanes(conv, s),
      forward_cut<T>(conv, s), 1, [&](i64) { return all; }, scratch,
      [&](i64 product) { return !again || (*again)(product); });
}

CHAINRULE_INLINE Filter forward_filter(const Conv2d& conv, const Sizes& s) {
  return filter_of(view_of(conv.window), s.products, conv.groups, s.in, s.out, s.x, s.y);
}

template <class T>
void conv2d_winograd(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, const Sizes& s,
                     Activation activation, T* scratch) {
  const Filter filter = forward_filter(conv, s);
  const auto activate = [](T* sums, i64 n, Activation kind) { ConvEpilogue<T>{nullptr, kind}(sums, 0, 0, 1, 0, n); };
  const Weights<T> weights{w, s.in * s.taps, s.taps, conv.window.kw};
  filter_planes(team, {y, x, weights, s.out * s.in * s.taps, bias, activate, activation}, filter, scratch);
  team.barrier();
  const Again<T> again = again_of(filter, scratch);
  if (again.any(s.products))
    conv2d_direct(team, y, x, w, bias, conv, s, activation, scratch + FilterCut<T>(filter).marks(filter), &again);
}

// A pointwise convolution of pixels: all of them are rows of one product a group.
template <class T>
Grid pixel_grid(const Conv2d& conv, const Sizes& s) {
  return grid_of<T>(conv.groups, conv.batch * s.size, s.out, s.in);
}

template <class T>
void conv2d_pointwise(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, const Sizes& s,
                      Activation activation, T* scratch) {
  if (!planar(conv))
    return products<T>(team, conv.groups, pixel_grid<T>(conv, s), scratch, [&](i64 g) {
      const PixelEpilogue<T> epilogue{bias ? bias + g * s.out : nullptr, activation};
      return product_of(y + g * s.out, conv.cout, false, PlainRows<T>{x + g * s.in, conv.cin},
                        TransposedColumns<T>{w + g * s.out * s.in, s.in}, epilogue);
    });
  const Grid grid = forward_grid<T>(s);
  products<T>(team, s.products, grid, scratch, [&](i64 i) {
    const i64 group = i % conv.groups;
    return product_of(y + i * s.out * s.size, s.size, false, PlainRows<T>{w + group * s.out * s.in, s.in},
                      PlainColumns<T>{x + i * s.in * s.image, s.image, worth_reading_direct<T>(grid, s.image)},
                      ConvEpilogue<T>{bias ? bias + group * s.out : nullptr, activation});
  });
}

}  // namespace

template <class T>
i64 conv2d_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  if (worth_transforming<T>(view, s.products, s.in, s.out))
    return filter_scratch<T>(forward_filter(conv, s), threads, direct_scratch<T>(conv, s, threads));
  if (depthwise(s.out, s.in, view))
    return planar(conv) ? threads * part_room<T>(view) : pixels_room<T>(view, conv.cout);
  if (pointwise(conv) || s.in == 0)
    return planar(conv) ? products_scratch<T>(s.products, forward_grid<T>(s), threads)
                        : products_scratch<T>(conv.groups, pixel_grid<T>(conv, s), threads);
  return direct_scratch<T>(conv, s, threads);
}

template <class T>
void conv2d(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, Activation activation,
            T* scratch) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  if constexpr (kTransforms<T>)
    if (worth_transforming<T>(view, s.products, s.in, s.out))
      return conv2d_winograd(team, y, x, w, bias, conv, s, activation, scratch);
  if (depthwise(s.out, s.in, view)) return conv2d_depthwise(team, y, x, w, bias, conv, s, activation, scratch);
  if (pointwise(conv) || s.in == 0) return conv2d_pointwise(team, y, x, w, bias, conv, s, activation, scratch);
  conv2d_direct(team, y, x, w, bias, conv, s, activation, scratch);
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
