// How a convolution's positions see a plane.
#pragma once
#include "gemm.h"
#include "window.h"

namespace chainrule::CHAINRULE_ISA {

// How positions (v, u) of a grid see a plane: tap (ty, tx) reads the element (v * step_y + off_y + ty * delta_y,
// u * step_x + off_x + tx * delta_x). A convolution sees its input so, and its input gradient sees dy so.
struct View {
  i64 h, w;           // the plane
  i64 rows, columns;  // positions
  i64 kh, kw;         // taps
  i64 step_y, step_x, off_y, off_x, delta_y, delta_x;

  CHAINRULE_INLINE i64 positions() const { return rows * columns; }
  CHAINRULE_INLINE i64 taps() const { return kh * kw; }
};

// One tap that sees the plane as it lies (1 x 1, stride 1, no padding): all positions are one row.
CHAINRULE_INLINE View flattened(const View& v) {
  const bool plain = v.taps() == 1 && v.step_y == 1 && v.step_x == 1 && v.off_y == 0 && v.off_x == 0 && v.rows == v.h &&
                     v.columns == v.w;
  return plain ? View{1, v.h * v.w, 1, v.h * v.w, 1, 1, 1, 1, 0, 0, 0, 0} : v;
}

CHAINRULE_INLINE View view_of(const Window2d& g) {
  return flattened({g.h, g.w, g.oh, g.ow, g.kh, g.kw, g.sh, g.sw, -g.ph, -g.pw, g.dh, g.dw});
}

// The taps of a window that some positions see along one axis: first, first + step, ...
struct TapList {
  i64 count, first, step;
};

}  // namespace chainrule::CHAINRULE_ISA
