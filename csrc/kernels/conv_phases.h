// The phases of a convolution: pixels of its result that see the other images with one view. A forward pass has one.
// Those of an input gradient are the pixels of dx of one residue of their row and column each, by the strides; each is
// a convolution of stride 1 over dy with its own taps.
#pragma once
#include "view.h"

namespace chainrule::CHAINRULE_ISA {

// With stride s, the rows iy = phase, phase + s, ... of dx see every `step`-th tap from `first` on, and dy's rows one
// apart: an axis falls into s phases, each a convolution of stride 1 over dy with its own taps.
struct Phase {
  i64 count;              // positions
  i64 taps, first, step;  // ky = first + j * step
  i64 offset, delta;      // dy's row for position u and tap j: u + offset + j * delta
};

CHAINRULE_INLINE Phase phase_of(i64 phase, i64 size, i64 kernel, i64 stride, i64 pad, i64 dilation) {
  i64 a = stride, b = dilation;
  while (b) {
    const i64 rest = a % b;
    a = b;
    b = rest;
  }
  Phase p{ceil_div(size - phase, stride), 0, 0, stride / a, 0, -(dilation / a)};
  for (i64 k = 0; k < at_most(kernel, p.step); k++)
    if ((phase + pad - k * dilation) % stride == 0) {
      p.first = k;
      p.taps = ceil_div(kernel - k, p.step);
      p.offset = (phase + pad - k * dilation) / stride;
      break;
    }
  return p;
}

CHAINRULE_INLINE TapList taps_of(const Phase& p) { return {p.taps, p.first, p.step}; }

CHAINRULE_INLINE Phase row_phase(const Window2d& g, i64 py) { return phase_of(py, g.h, g.kh, g.sh, g.ph, g.dh); }
CHAINRULE_INLINE Phase column_phase(const Window2d& g, i64 px) { return phase_of(px, g.w, g.kw, g.sw, g.pw, g.dw); }

CHAINRULE_INLINE View view_of_phase(const Window2d& g, const Phase& y, const Phase& x) {
  return {g.oh, g.ow, y.count, x.count, y.taps, x.taps, 1, 1, y.offset, x.offset, y.delta, x.delta};
}

// As many positions and taps as any phase has.
CHAINRULE_INLINE View largest_phase(const Window2d& g) {
  Phase y = row_phase(g, 0), x = column_phase(g, 0);  // no phase has more positions
  y.taps = ceil_div(g.kh, y.step), x.taps = ceil_div(g.kw, x.step);
  return view_of_phase(g, y, x);
}

// Phases along an axis, and the taps of those before phase p.
CHAINRULE_INLINE i64 rows_of_phases(const Window2d& g) { return at_most(g.sh, g.h); }
CHAINRULE_INLINE i64 columns_of_phases(const Window2d& g) { return at_most(g.sw, g.w); }
CHAINRULE_INLINE i64 row_taps_before(const Window2d& g, i64 p) {
  i64 taps = 0;
  while (p > 0) taps += row_phase(g, --p).taps;
  return taps;
}
CHAINRULE_INLINE i64 column_taps_before(const Window2d& g, i64 p) {
  i64 taps = 0;
  while (p > 0) taps += column_phase(g, --p).taps;
  return taps;
}

CHAINRULE_INLINE View unstrided_view(const Window2d& g) {
  return view_of_phase(g, row_phase(g, 0), column_phase(g, 0));
}

CHAINRULE_INLINE bool stride_of_one(const Window2d& g) { return g.sh == 1 && g.sw == 1; }

// Position (v, u) of the view is pixel (row + v * step_y, column + u * step_x) of the result.
struct PixelPhase {
  View view;
  TapList taps_y, taps_x;  // those of the window that it sees
  i64 row, column, step_y, step_x;
};

struct Phases {
  Window2d window;
  bool of_gradient;

  CHAINRULE_INLINE i64 count() const { return of_gradient ? rows_of_phases(window) * columns_of_phases(window) : 1; }
  CHAINRULE_INLINE PixelPhase operator[](i64 i) const {
    const Window2d& g = window;
    if (!of_gradient) return {view_of(g), {g.kh, 0, 1}, {g.kw, 0, 1}, 0, 0, 1, 1};
    const i64 py = i / columns_of_phases(g), px = i % columns_of_phases(g);
    const Phase y = row_phase(g, py), x = column_phase(g, px);
    return {view_of_phase(g, y, x), taps_of(y), taps_of(x), py, px, g.sh, g.sw};
  }
  // With as many positions and taps as any phase has.
  CHAINRULE_INLINE View largest() const { return of_gradient ? largest_phase(window) : view_of(window); }
  CHAINRULE_INLINE i64 taps() const { return window.kh * window.kw; }  // of all together
  // Of the result.
  CHAINRULE_INLINE i64 width() const { return of_gradient ? window.w : view_of(window).columns; }
  CHAINRULE_INLINE i64 height() const { return of_gradient ? window.h : view_of(window).rows; }
};

}  // namespace chainrule::CHAINRULE_ISA
