// The weight gradient of convolutions with one channel to sum over, of small planes: a vec of channels of an image and
// of its gradient are copied to lanes (lanes.h), and summed as those of channels_last images are, with their bits
// (depthwise_pixels_weight.h).
#pragma once
#include "depthwise_pixels_weight.h"

namespace chainrule::CHAINRULE_ISA {

// A rule of the shape without the batch, and for all instruction sets: planes are summed in another order. Windows of
// more taps than AVX2's registers hold only where planes are shorter still.
template <class T>
CHAINRULE_INLINE bool worth_lane_weights(const Conv2d& conv, const Sizes& s) {
  constexpr i64 kPixels = i64(1) << 12;
  const View v = view_of(conv.window);
  const i64 most = v.taps() > 9 && v.step_x == 1 ? vec<T>::size / 2 : vec<T>::size;
  return s.out == 1 && fills_lanes<T>(conv.cout) && v.columns <= most && v.positions() <= kBlockK && s.image <= kPixels;
}

// A thread's images in lanes.
CHAINRULE_INLINE i64 lanes_of_images(const Sizes& s, i64 lanes) { return (s.image + s.size) * lanes; }

template <class T>
CHAINRULE_INLINE i64 lane_weights_scratch(const Conv2d& conv, const Sizes& s, i64 threads) {
  return PixelGradientCut<T>(conv, s).scratch() + threads * lanes_of_images(s, vec<T>::size);
}

template <class T>
void lane_weights(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const PixelGradientCut<T> cut(conv, s);  // an image is a part
  const View& v = cut.view;
  T* const seen = scratch + cut.scratch() + team.rank() * lanes_of_images(s, size);
  T* const gradient = seen + s.image * size;
  const PixelLines none(x, 1, size, 0);
  const PixelPart<T> part{v, whole_columns(v), size, size, v.columns * size, false, none, none};
  parallel_for(team, cut.chunks * cut.pieces, 1, [&](i64 begin, i64 end) {
    for (i64 item = begin; item < end; item++) {
      const i64 chunk = item / cut.pieces, first = item % cut.pieces * cut.piece;
      const i64 last = at_most(cut.vecs, first + cut.piece);
      T* const totals = scratch + chunk * cut.partial;
      for (i64 i = first * s.taps; i < last * s.taps; i++) store(totals + i * size, vec<T>(0));
      for (i64 n = chunk * cut.chunk; n < at_most(cut.parts, (chunk + 1) * cut.chunk); n++)
        for (i64 i = first; i < last; i++) {
          const i64 c = i * size, here = at_most(size, conv.cout - c);
          run_to_lanes(seen, size, x + n * s.x.image + c * s.x.channel, s.x, here, s.image);
          run_to_lanes(gradient, size, dy + n * s.y.image + c * s.y.channel, s.y, here, s.size);
          pixel_gradients(totals + c * s.taps, gradient, seen, part, size, 1);
        }
    }
  });
  team.barrier();
  add_chunks(team, dw, scratch, cut, s.taps, conv.cout);
}

}  // namespace chainrule::CHAINRULE_ISA
