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

// The positions whose windows lie between the plane's left and right edge.
CHAINRULE_INLINE Span whole_columns(const View& v) {
  const i64 reach = (v.kw - 1) * v.delta_x;
  const Span left = outputs_inside(v.columns, v.step_x, v.off_x + at_most(i64(0), reach), v.w),
             right = outputs_inside(v.columns, v.step_x, v.off_x + at_least(i64(0), reach), v.w);
  return {left.begin, at_least(left.begin, right.end)};
}

// A plane's positions in parts of at most kBlockK: all of them, or some whole rows, or an equal part of a row.
struct PositionParts {
  struct Place {
    i64 row, column;
  };
  i64 rows, columns;  // of a part; the last one has fewer
  i64 down, across;

  explicit PositionParts(const View& v) {
    constexpr i64 one = 1;
    columns = at_least(one, ceil_div(v.columns, at_least(one, ceil_div(v.columns, kBlockK))));
    across = ceil_div(v.columns, columns);
    rows = across > 1 ? one : at_least(one, at_most(v.rows, kBlockK / columns));
    rows = at_least(one, ceil_div(v.rows, at_least(one, ceil_div(v.rows, rows))));
    down = ceil_div(v.rows, rows);
  }
  CHAINRULE_INLINE i64 count() const { return down * across; }
  CHAINRULE_INLINE Place place(i64 part) const { return {part / across * rows, part % across * columns}; }
  // The part of v that these are the parts of.
  CHAINRULE_INLINE View view(View v, i64 part) const {
    const Place at = place(part);
    v.rows = at_most(rows, v.rows - at.row), v.columns = at_most(columns, v.columns - at.column);
    v.off_y += at.row * v.step_y, v.off_x += at.column * v.step_x;
    return v;
  }
};

// The taps of a window that some positions see along one axis: first, first + step, ...
struct TapList {
  i64 count, first, step;
};

}  // namespace chainrule::CHAINRULE_ISA
