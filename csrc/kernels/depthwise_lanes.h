// Convolutions with one channel to sum over, of planes that vecs of positions hardly fill: a vec of channels of an
// image is copied to lanes (lanes.h), its positions are computed as those of channels_last images (depthwise_pixels.h),
// and copied back. The bits are the same as in planes.
#pragma once
#include "depthwise_pixels.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
CHAINRULE_INLINE bool fills_lanes(i64 channels) {
  return channels * 4 >= round_up(channels, i64(vec<T>::size)) * 3;
}

// An image in lanes. Without strides there are as many zeros around it as the windows reach beyond, so that no position
// is near an edge; with strides, windows reach less far beyond than the copy would cost.
struct LanePlane {
  i64 top = 0, left = 0, height, width;
  bool pads;

  CHAINRULE_INLINE explicit LanePlane(const Phases& phases) {
    const View v = phases.largest();
    height = v.h, width = v.w, pads = stride_of_one(phases.window);
    if (!pads) return;
    const i64 reach_y = (v.kh - 1) * v.delta_y, reach_x = (v.kw - 1) * v.delta_x;
    top = at_least(i64(0), -v.off_y - at_most(i64(0), reach_y));
    left = at_least(i64(0), -v.off_x - at_most(i64(0), reach_x));
    height = top + at_least(v.h, v.rows + v.off_y + at_least(i64(0), reach_y));
    width = left + at_least(v.w, v.columns + v.off_x + at_least(i64(0), reach_x));
  }
  CHAINRULE_INLINE i64 pixels() const { return pads ? height * width : 0; }
  CHAINRULE_INLINE PixelPhase phase(PixelPhase at) const {
    at.view.h = height, at.view.w = width, at.view.off_y += top, at.view.off_x += left;
    return at;
  }
  // The image itself, of which `channels` of each pixel are read. The zeros stay.
  template <class T>
  CHAINRULE_INLINE void copy(T* to, const T* from, i64 pixel, const View& plane, i64 channels) const {
    constexpr i64 size = vec<T>::size;
    for (i64 y = 0; y < plane.h; y++) {
      T* const row = to + ((top + y) * width + left) * size;
      if (channels == size)
        for (i64 x = 0; x < plane.w; x++, from += pixel) store(row + x * size, load(from));
      else
        for (i64 x = 0; x < plane.w; x++, from += pixel) store(row + x * size, load(from, channels));
    }
  }
};

// Whether images go this way. Planes: where rows are short, so that vecs of positions would be half empty or most of
// them near an edge; with strides up to a size, since forward they are copied tap by tap else, and backward pixels are
// stored one by one. Pixels: where windows are wide for the rows.
template <class T>
CHAINRULE_INLINE bool worth_channel_lanes(const ImageGroups& s, const Phases& phases) {
  constexpr i64 kShort = 12 * vec<T>::size / 16, kPixels = i64(1) << 12, kMostPixels = i64(1) << 15;
  const View v = phases.largest();
  if (s.out != 1 || !fills_lanes<T>(s.groups) || (v.h + v.kh) * (v.w + v.kw) + v.positions() > kMostPixels)
    return false;
  const bool wide = v.kw >= 5 && v.columns <= 4 * v.kw;
  if (stride_of_one(phases.window)) return wide || (s.x.planar() && v.columns <= kShort);
  return s.x.planar() && (phases.of_gradient || v.h * v.w <= kPixels);
}

// Of a thread: the padded image; of planes, the image as it is and the result, too.
template <class T>
CHAINRULE_INLINE i64 lanes_of_images(const ImageGroups& s, const Phases& phases) {
  return (LanePlane(phases).pixels() + (s.x.planar() ? s.x.channel + s.y.channel : 0)) * vec<T>::size;
}

template <class T>
CHAINRULE_INLINE i64 depthwise_lanes_scratch(const ImageGroups& s, const Phases& phases, i64 threads) {
  return pixels_room<T>(s, phases) + threads * lanes_of_images<T>(s, phases);
}

template <class T>
CHAINRULE_INLINE void depthwise_lanes(Team& team, const ConvArrays<T>& a, const ImageGroups& s, const Phases& phases,
                                      T* scratch) {
  constexpr i64 size = vec<T>::size;
  pack_all_windows(team, a, s, phases, scratch);
  const LanePlane padded(phases);
  const View plane = phases.largest();
  T* const seen = scratch + pixels_room<T>(s, phases) + team.rank() * lanes_of_images<T>(s, phases);
  T* const x = seen + padded.pixels() * size;
  T* const lanes = x + s.x.channel * size;
  const bool planar = s.x.planar();
  const ColumnEpilogue<T> epilogue{planar ? before_moving(a.epilogue) : a.epilogue};
  const i64 channels = s.groups, blocks = ceil_div(channels, size), width = phases.width();
  const i64 pixels = width * phases.height(), step = planar ? size : s.y.pixel;
  const i64 grain = ceil_div(kFlatGrain * 4, at_least(i64(1), pixels * size * plane.taps()));
  bool cleared = false;
  parallel_for(team, s.products / s.groups * blocks, grain, [&](i64 begin, i64 end) {
    for (i64 i = 0; i < padded.pixels() && !cleared; i++) store(seen + i * size, vec<T>(0));
    cleared = true;
    for (i64 i = begin; i < end; i++) {
      const i64 n = i / blocks, c = i % blocks * size, here = at_most(size, channels - c);
      const T* const image = a.x + n * s.x.image + c * s.x.channel;
      T* const result = a.y + n * s.y.image + c * s.y.channel;
      if (planar) run_to_lanes(x, size, image, s.x, here, s.x.channel);
      if (padded.pads) padded.copy(seen, planar ? x : image, planar ? size : s.x.pixel, plane, planar ? size : here);
      T* const y = planar ? lanes : result;
      each_phase(s, phases, scratch, [&](const PixelPhase& at, const T* weights) {
        const PixelRows<T> rows(padded.phase(at), size, step, width, planar ? size : here, 1, false);
        T* const to = y + (at.row * width + at.column) * step;
        for (i64 row = 0; row < at.view.rows; row += kPixelRows)
          rows(to + row * rows.line, padded.pads ? seen : x, weights + c * at.view.taps(), row,
               at_most(kPixelRows, at.view.rows - row));
      });
      epilogue(y, step, 0, pixels, c, here);
      if (planar) finish_in_image(result, y, size, s.y, pixels, here, 1, pixels, a.epilogue);
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
