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

// Whether planes go this way: rows shorter than that (of float32), whose lanes would be of positions else; and, with a
// stride, planes up to a size: forward they are copied tap by tap else, backward pixels are stored one by one.
template <class T>
CHAINRULE_INLINE bool worth_channel_lanes(const ImageGroups& s, const Phases& phases) {
  constexpr i64 kShort = 10 * vec<T>::size / 16, kPixels = i64(1) << 12, kMostPixels = i64(1) << 15;
  if (s.out != 1 || !fills_lanes<T>(s.groups) || s.x.channel + s.y.channel > kMostPixels) return false;
  if (stride_of_one(phases.window)) return phases.largest().columns <= kShort;
  return phases.of_gradient || s.x.channel <= kPixels;
}

// Elements of a thread's images in lanes.
template <class T>
CHAINRULE_INLINE i64 lanes_of_images(const ImageGroups& s) {
  return (s.x.channel + s.y.channel) * vec<T>::size;
}

template <class T>
CHAINRULE_INLINE i64 depthwise_lanes_scratch(const ImageGroups& s, const Phases& phases, i64 threads) {
  return pixels_room<T>(s, phases) + threads * lanes_of_images<T>(s);
}

template <class T>
CHAINRULE_INLINE void depthwise_lanes(Team& team, const ConvArrays<T>& a, const ImageGroups& s, const Phases& phases,
                                      T* scratch) {
  constexpr i64 size = vec<T>::size;
  pack_all_windows(team, a, s, phases, scratch);
  T* const x = scratch + pixels_room<T>(s, phases) + team.rank() * lanes_of_images<T>(s);
  T* const y = x + s.x.channel * size;
  const ColumnEpilogue<T> epilogue{before_moving(a.epilogue)};
  const i64 channels = s.groups, blocks = ceil_div(channels, size), width = phases.width();
  const i64 grain = ceil_div(kFlatGrain * 4, at_least(i64(1), s.y.channel * size * phases.largest().taps()));
  parallel_for(team, s.products / s.groups * blocks, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 n = i / blocks, c = i % blocks * size, here = at_most(size, channels - c);
      run_to_lanes(x, size, a.x + n * s.x.image + c * s.x.channel, s.x, here, s.x.channel);
      each_phase(s, phases, scratch, [&](const PixelPhase& at, const T* weights) {
        const PixelRows<T> rows(at, size, size, width, size, 1, false);
        T* const to = y + (at.row * width + at.column) * size;
        for (i64 row = 0; row < at.view.rows; row += kPixelRows)
          rows(to + row * rows.line, x, weights + c * at.view.taps(), row, at_most(kPixelRows, at.view.rows - row));
      });
      epilogue(y, size, 0, s.y.channel, c, here);
      finish_in_image(a.y + n * s.y.image + c * s.y.channel, y, size, s.y, s.y.channel, here, 1, s.y.channel,
                      a.epilogue);
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
