// Sizes that the passes of a convolution share.
#pragma once
#include "depthwise.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

struct Sizes {
  i64 in, out;      // channels of a group
  i64 taps;         // kh * kw
  i64 image, size;  // elements of a plane of x, of y
  i64 products;     // batch * groups
};

CHAINRULE_INLINE Sizes sizes_of(const Conv2d& c) {
  const Window2d& g = c.window;
  return {c.cin / c.groups, c.cout / c.groups, g.kh * g.kw, g.h * g.w, g.oh * g.ow, c.batch * c.groups};
}

// One tap that sees the plane as it lies: the convolution is a product of plain matrices.
CHAINRULE_INLINE bool pointwise(const Conv2d& c) {
  const View v = view_of(c.window);
  return v.taps() == 1 && v.h == 1 && v.rows == 1 && v.step_x == 1 && v.off_x == 0 && v.columns == v.w;
}

}  // namespace chainrule::CHAINRULE_ISA
