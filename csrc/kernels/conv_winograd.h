// Convolutions of 3 x 3 windows by Winograd's transforms (winograd.h), straight from and to images of either format:
// forward, and the input gradient, which is a convolution with the turned window. An item is some tiles, of a part of a
// plane or of the planes of some images; its 16 products of matrices run on the tile of microkernel.h, in vecs of
// output channels.
//
// An infinity or a NaN would spread over its tile: images where one comes out are computed again without transforms.
#pragma once
#include "conv_arrays.h"
#include "winograd.h"

namespace chainrule::CHAINRULE_ISA {

// A convolution with a 3 x 3 window. The view's taps ascend.
struct Filter : ImageGroups {
  View view;
  bool flip;
  CHAINRULE_INLINE i64 down() const { return ceil_div(view.rows, i64(2)); }  // tiles
  CHAINRULE_INLINE i64 across() const { return ceil_div(view.columns, i64(2)); }
};

CHAINRULE_INLINE Filter filter_of(const View& v, const ImageGroups& groups) {
  Filter f{groups, v, v.delta_y < 0};
  if (f.flip) f.view.off_y += 2 * v.delta_y, f.view.off_x += 2 * v.delta_x, f.view.delta_y = f.view.delta_x = 1;
  return f;
}

// Doubles are computed for their precision.
template <class T>
constexpr bool kTransforms = sizeof(T) == 4;

// Whether the transforms cost less than they save: a rule of the window, the plane and the channels, never of the
// batch, because the two ways differ in their last bits.
template <class T>
CHAINRULE_INLINE bool worth_transforming(const View& v, i64 products, i64 in, i64 out) {
  if (!kTransforms<T> || products == 0 || v.kh != 3 || v.kw != 3 || v.step_y != 1 || v.step_x != 1) return false;
  if ((v.delta_y != 1 || v.delta_x != 1) && (v.delta_y != -1 || v.delta_x != -1)) return false;
  constexpr i64 kMostWeights = i64(1) << 18;  // beyond, 16 elements each leave the caches
  if (in < 8 || out < 8 || in * out > kMostWeights) return false;
  // In products per vec of channels: 16 a tile and what transforms cost, against 9 a position, in whole vecs.
  const i64 tiles = ceil_div(v.rows, i64(2)) * ceil_div(v.columns, i64(2));
  const i64 wide_in = round_up(in, vec<float>::size), wide_out = round_up(out, vec<float>::size);
  return tiles * (16 * in * wide_out + 60 * (wide_in + wide_out)) * 10 <
         9 * round_up(v.positions(), vec<float>::size) * in * out * 11;
}

// How the tiles are cut into items, and a thread's scratch. A pitch is a line more than a multiple of a page: the 16
// elements of a transform fall into different sets of the caches.
template <class T>
struct FilterCut {
  i64 images, rows, columns;       // of an item, in images and tiles
  i64 down, across, chunks;        // items along a plane's axes; along the images of a group
  i64 in_pitch, out_pitch, panel;  // elements: of transforms, and of a panel's weights
  i64 step;                        // from a tile's sums to the next's
  i64 lanes, own, weights;

  explicit FilterCut(const Filter& f) : FilterCut(f, most_tiles(f)) {}

  // About `most` tiles to an item; its images and tiles depend on the shape alone.
  FilterCut(const Filter& f, i64 most) {
    constexpr i64 size = vec<T>::size, kEnough = 16;
    constexpr i64 kSmallItem = i64(1) << 19;  // products
    const i64 batch = f.products / f.groups, wide = round_up(f.in, size);
    columns = ceil_div(f.across(), ceil_div(f.across(), at_least(i64(16), most)));
    rows = at_most(f.down(), at_least(i64(1), most / columns));
    images = rows == f.down() && columns == f.across() ? at_most(batch, at_least(i64(1), most / (rows * columns))) : 1;
    const auto items = [&] {
      return f.groups * ceil_div(batch, images) * ceil_div(f.down(), rows) * ceil_div(f.across(), columns);
    };
    while (items() < kEnough && tiles() * kElements * f.in * f.out >= 2 * kSmallItem && (images > 1 || rows > 1))
      images > 1 ? images = ceil_div(images, i64(2)) : rows = ceil_div(rows, i64(2));
    images = ceil_div(batch, ceil_div(batch, images));
    rows = ceil_div(f.down(), ceil_div(f.down(), rows));
    down = ceil_div(f.down(), rows), across = ceil_div(f.across(), columns), chunks = ceil_div(batch, images);
    in_pitch = tiles() * wide + size;
    step = at_most(kPanel<T>, round_up(f.out, size));
    out_pitch = tiles() * step + size;
    panel = kElements * f.in * kPanel<T>;
    lanes = (2 * rows + 3) * (2 * columns + 2) * size;
    own = lanes + kElements * (in_pitch + out_pitch);
    weights = f.groups * panels(f) * panel;
  }
  CHAINRULE_INLINE i64 tiles() const { return images * rows * columns; }
  CHAINRULE_INLINE i64 items(const Filter& f) const { return f.groups * chunks * down * across; }
  CHAINRULE_INLINE static i64 panels(const Filter& f) { return ceil_div(f.out, kPanel<T>); }
  CHAINRULE_INLINE static i64 most_tiles(const Filter& f) {
    constexpr i64 kRoom = (i64(384) << 10) / sizeof(T), kMost = 128;  // transforms in the L2 beside the weights
    return at_least(i64(1), at_most(kMost, kRoom / kElements / round_up(f.in, vec<T>::size)));
  }
  // One for each image and part of its plane.
  CHAINRULE_INLINE i64 marks(const Filter& f) const { return round_up(f.products * down * across, vec<T>::size); }
};

// The part of a plane that one item has.
struct Tiles {
  i64 row, rows, column, columns;
};

template <class T>
CHAINRULE_INLINE Tiles tiles_of(const Filter& f, const FilterCut<T>& cut, i64 part) {
  const i64 row = part / cut.across * cut.rows, column = part % cut.across * cut.columns;
  return {row, at_most(cut.rows, f.down() - row), column, at_most(cut.columns, f.across() - column)};
}

// The transforms of what tiles see: an input, or the gradient of an output.
struct InputTiles {
  static constexpr i64 kReach = 2;  // pixels of a row of tiles beyond two each
  template <class... Args>
  CHAINRULE_INLINE void operator()(Args... args) const {
    input_tiles(args...);
  }
};
struct GradientTiles {
  static constexpr i64 kReach = 0;
  template <class... Args>
  CHAINRULE_INLINE void operator()(Args... args) const {
    gradient_tiles(args...);
  }
};

// What the tiles of a part see, of `channels` channels, transformed: block c of lanes at out + c * block.
template <class T, class Transform>
CHAINRULE_INLINE void transform_planes(T* out, i64 pitch, i64 block, const T* image, const Images& where, i64 channels,
                                       const View& v, const Tiles& at, T* lanes, Transform transform) {
  const i64 y = 2 * at.row + v.off_y, x = 2 * at.column + v.off_x;
  const i64 top = at_least(y, i64(0)), left = at_least(x, i64(0));
  T* const zeros = lanes + (2 * at.rows + Transform::kReach) * (2 * at.columns + Transform::kReach) * vec<T>::size;
  for (i64 i = 0; i < 2 * at.columns + Transform::kReach; i++) store(zeros + i * vec<T>::size, vec<T>(0));
  const Lanes<T> seen{lanes,
                      top,
                      left,
                      at_least(i64(0), at_most(v.h, y + 2 * at.rows + Transform::kReach) - top),
                      at_least(i64(0), at_most(v.w, x + 2 * at.columns + Transform::kReach) - left),
                      zeros};
  for (i64 c = 0; c < channels; c += vec<T>::size, out += block) {
    if (seen.height > 0 && seen.width > 0)
      to_lanes(lanes, image + c * where.channel + (top * v.w + left) * where.pixel, where, v.w * where.pixel,
               at_most(channels - c, i64(vec<T>::size)), seen.height, seen.width);
    transform(out, pitch, seen, y, x, at.rows, at.columns);
  }
}

// All images, but for those that are marked in the first elements of scratch afterwards, behind a barrier.
template <class T>
void filter_planes(Team& team, const ConvArrays<T>& a, const Filter& f, T* scratch);

// All images; again(scratch, wanted) computes some of them another way.
template <class T, class Direct>
CHAINRULE_INLINE void convolve_by_transforms(Team& team, const ConvArrays<T>& a, const Filter& f, T* scratch,
                                             Direct&& again) {
  filter_planes(team, a, f, scratch);
  team.barrier();
  const FilterCut<T> cut(f);
  const Wanted<T> wanted{scratch, cut.down * cut.across};
  if (wanted.any(f.products)) again(scratch + cut.marks(f), wanted);
}

// Scratch: the marks; then the weights and each thread's own, or what computing again wants.
template <class T>
CHAINRULE_INLINE i64 filter_scratch(const Filter& f, i64 threads, i64 direct) {
  const FilterCut<T> cut(f);
  return cut.marks(f) + at_least(cut.weights + threads * cut.own, direct);
}

}  // namespace chainrule::CHAINRULE_ISA
