// Images in "lanes": vecs of vec<T>::size channels of a pixel, zeros after the last channel. What works on vecs of
// channels, Winograd's transforms and the direct convolutions of conv_lanes.h, copies its part of an image so, from
// either memory format, and its results back.
#pragma once
#include "transpose.h"
#include "window.h"

namespace chainrule::CHAINRULE_ISA {

// Where the elements of a tensor of images lie: elements from an image, a channel, a pixel to the next. Either the
// channels or the pixels follow each other without gaps.
struct Images {
  i64 image, channel, pixel;
  CHAINRULE_INLINE bool planar() const { return pixel == 1; }
};
CHAINRULE_INLINE Images images_of(Format format, i64 channels, i64 pixels) {
  return format == Format::channels_last ? Images{channels * pixels, 1, channels}
                                         : Images{channels * pixels, pixels, 1};
}

// What a convolution takes one by one, its products: the groups of channels of each image.
struct ImageGroups {
  i64 products, groups;  // batch * groups
  i64 in, out;           // channels of a group: those that are summed, those of the result
  Images x, y;

  // Elements before the first channel of a product.
  CHAINRULE_INLINE i64 x_at(i64 i) const { return i / groups * x.image + i % groups * in * x.channel; }
  CHAINRULE_INLINE i64 y_at(i64 i) const { return i / groups * y.image + i % groups * out * y.channel; }
  // As the input gradient sees them.
  CHAINRULE_INLINE ImageGroups turned() const { return {products, groups, out, in, y, x}; }
};

// low and high: a0 b0 a1 b1 ... in two vecs.
template <class T>
CHAINRULE_INLINE void zip(vec<T> a, vec<T> b, vec<T>* low, vec<T>* high) {
  native<T> out[2 * kRegisters];
  for (int i = 0; i < kRegisters; i++)
    interleave<native<T>, vec<T>::lanes>(a.r[i], b.r[i], &out[2 * i], &out[2 * i + 1]);
  for (int i = 0; i < kRegisters; i++) low->r[i] = out[i], high->r[i] = out[kRegisters + i];
}

// Up to a vec of channels of `pixels` pixels that follow each other, to lanes that are `step` elements from a pixel to
// the next. from: the first pixel's first channel.
template <class T>
CHAINRULE_INLINE void run_to_lanes(T* lanes, i64 step, const T* from, const Images& at, i64 channels, i64 pixels) {
  constexpr i64 n = kSquare<T>, size = vec<T>::size;
  if (at.planar()) {
    for (i64 c = 0; c < size; c += n)
      each_square<T>(pixels, [&](i64 i, i64 count) {
        transpose_square(lanes + i * step + c, step, from + c * at.channel + i, at.channel,
                         at_least(i64(0), at_most(n, channels - c)), count);
      });
    return;
  }
  if (channels >= size)
    for (i64 i = 0; i < pixels; i++) store(lanes + i * step, load(from + i * at.pixel));
  else
    for (i64 i = 0; i < pixels; i++) store(lanes + i * step, load(from + i * at.pixel, channels));
}

// And back: the first `channels` of the lanes, which are `step` elements from a pixel to the next.
template <class T>
CHAINRULE_INLINE void run_from_lanes(T* to, const T* lanes, i64 step, const Images& at, i64 channels, i64 pixels) {
  constexpr i64 n = kSquare<T>, size = vec<T>::size;
  if (at.planar()) {
    for (i64 c = 0; c < channels; c += n)
      each_square<T>(pixels, [&](i64 i, i64 count) {
        transpose_part(to + c * at.channel + i, at.channel, lanes + i * step + c, step, count,
                       at_most(n, channels - c));
      });
    return;
  }
  if (channels >= size)
    for (i64 i = 0; i < pixels; i++) store(to + i * at.pixel, load(lanes + i * step));
  else
    for (i64 i = 0; i < pixels; i++) store(to + i * at.pixel, load(lanes + i * step), channels);
}

// Columns of B that lie in lanes: element (k, j) is lane j % size of vec k of lane block j / size.
template <class T>
struct LaneColumns {
  const T* data;
  i64 block;
  CHAINRULE_INLINE const T* row(i64 k) const { return data + k * vec<T>::size; }
  CHAINRULE_INLINE vec<T> fetch(const T* p, int v) const { return load(p + v * block); }
};

// height x width pixels of images whose rows begin `row` elements apart, to and from lanes without gaps.
template <class T>
CHAINRULE_INLINE void to_lanes(T* lanes, const T* from, const Images& at, i64 row, i64 channels, i64 height,
                               i64 width) {
  if (width * at.pixel == row) return run_to_lanes(lanes, vec<T>::size, from, at, channels, height * width);
  for (i64 y = 0; y < height; y++)
    run_to_lanes(lanes + y * width * vec<T>::size, vec<T>::size, from + y * row, at, channels, width);
}
template <class T>
CHAINRULE_INLINE void from_lanes(T* to, const T* lanes, i64 step, const Images& at, i64 row, i64 channels, i64 height,
                                 i64 width) {
  if (width * at.pixel == row) return run_from_lanes(to, lanes, step, at, channels, height * width);
  for (i64 y = 0; y < height; y++) run_from_lanes(to + y * row, lanes + y * width * step, step, at, channels, width);
}

}  // namespace chainrule::CHAINRULE_ISA
