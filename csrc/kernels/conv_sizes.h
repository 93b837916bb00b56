// Sizes that the passes of a convolution share, and the choice between their ways.
#pragma once
#include "conv_batch.h"
#include "depthwise.h"
#include "depthwise_lanes.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

struct Sizes : ImageGroups {
  i64 taps;         // kh * kw
  i64 image, size;  // elements of a plane of x, of y
};

CHAINRULE_INLINE Sizes sizes_of(const Conv2d& c) {
  const Window2d& g = c.window;
  const i64 image = g.h * g.w, size = g.oh * g.ow;
  return {{c.batch * c.groups, c.groups, c.cin / c.groups, c.cout / c.groups, images_of(c.format, c.cin, image),
           images_of(c.format, c.cout, size)},
          g.kh * g.kw,
          image,
          size};
}

// w (cout, in, kh, kw), as the forward pass and as the input gradient see it.
template <class T>
CHAINRULE_INLINE Weights<T> forward_weights(const T* w, const Conv2d& c, const Sizes& s) {
  return {w, s.in * s.taps, s.taps, c.window.kw, s.out * s.in * s.taps};
}
template <class T>
CHAINRULE_INLINE Weights<T> turned_weights(const T* w, const Conv2d& c, const Sizes& s) {
  return {w, s.taps, s.in * s.taps, c.window.kw, s.out * s.in * s.taps};
}

CHAINRULE_INLINE bool planar(const Conv2d& c) { return c.format == Format::channels_first; }

// One tap that sees the plane as it lies: the convolution is a product of plain matrices.
CHAINRULE_INLINE bool pointwise(const Conv2d& c) {
  const View v = view_of(c.window);
  return v.taps() == 1 && v.h == 1 && v.rows == 1 && v.off_y == 0 && v.step_x == 1 && v.off_x == 0 && v.columns == v.w;
}

// Whether a direct convolution from planes goes in lanes: both ways give the same bits, but in lanes outputs are padded
// to whole vecs. Short rows make short tiles, which is still less than planes waste there (512 x 7 x 7 -> 512 with
// stride 2: 1.0 ms instead of 3.7 for one image, 4.0 instead of 8.4 for eight).
template <class T>
CHAINRULE_INLINE bool worth_lanes(const View& v, i64 in, i64 out) {
  return out * 4 >= round_up(out, vec<T>::size) * 3 && in * 2 >= vec<T>::size && in * v.taps() >= 32;
}

}  // namespace chainrule::CHAINRULE_ISA
