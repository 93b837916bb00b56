// What a convolution multiplies weights with, as sources of gemm.h: patches of planes, packed panel by panel straight
// from NCHW memory, zeros where a patch reaches past its plane. No patch matrix of the whole input is ever made.
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

// `count` times, `to_next` and `from_next` apart: to[i] = from[i * step] for i inside, 0 for the rest of [0, n).
template <class T, int Step>
__attribute__((noinline)) static void copy_runs(T* to, i64 to_next, const T* from, i64 from_next, i64 count, i64 n,
                                                Span inside, i64 step) {
  constexpr i64 size = vec<T>::size;
  const i64 first = inside.begin, length = inside.end - inside.begin;
  for (; count > 0; count--, to += to_next, from += from_next) {
    if (length < n)
      for (i64 i = 0; i < n; i += size) store(to + i, vec<T>(0), at_most(size, n - i));
    for (i64 i = 0; i < length; i += size) {
      const i64 lanes = at_most(size, length - i);
      store(to + first + i, load_every<Step>(from + (first + i) * step, step, lanes), lanes);
    }
  }
}

// The n positions from (v, u) on, of one row, as tap (ty, tx) of `count` planes sees them.
template <class T>
CHAINRULE_INLINE void copy_tap(T* to, i64 to_next, const T* plane, i64 plane_next, i64 count, const View& view, i64 v,
                               i64 u, i64 ty, i64 tx, i64 n) {
  const i64 y = v * view.step_y + view.off_y + ty * view.delta_y;
  const i64 x = u * view.step_x + view.off_x + tx * view.delta_x;
  Span inside = outputs_inside(n, view.step_x, x, view.w);
  if (y < 0 || y >= view.h) inside = {0, 0};
  const T* const from = plane + (inside.end > inside.begin ? y * view.w + x : 0);
  if (view.step_x == 1)
    copy_runs<T, 1>(to, to_next, from, plane_next, count, n, inside, 1);
  else if (view.step_x == 2)
    copy_runs<T, 2>(to, to_next, from, plane_next, count, n, inside, 2);
  else
    copy_runs<T, 0>(to, to_next, from, plane_next, count, n, inside, view.step_x);
}

// A of a product: element (i, k) is position k % positions of image k / positions, i = (channel, ty, tx).
template <class T>
struct PatchRows {
  using Layout = ByRow<T>;
  const T* data;
  i64 image;  // elements from an image to the next
  View view;

  void pack(T* tile, i64 row, i64 rows, i64 k, i64 depth) const {
    const i64 taps = view.taps(), plane = view.h * view.w;
    for (i64 done = 0; done < depth;) {
      const i64 n = (k + done) / view.positions(), p = (k + done) % view.positions();
      const i64 v = p / view.columns, u = p % view.columns;
      const i64 length = at_most(view.columns - u, depth - done);
      const T* from = data + n * image + row / taps * plane;
      i64 ty = row % taps / view.kw, tx = row % view.kw;
      for (i64 r = 0; r < rows; r++) {
        copy_tap(tile + r * Layout::kRow + done, 0, from, 0, 1, view, v, u, ty, tx, length);
        if (++tx < view.kw) continue;
        tx = 0;
        if (++ty < view.kh) continue;
        ty = 0;
        from += plane;
      }
      done += length;
    }
  }
};

// B of a product: element (k, j) is position k % positions of channel j of image k / positions.
template <class T>
struct ChannelColumns {
  const T* data;
  i64 image, positions;

  const T* panel(T* packed, i64 column, i64 columns, i64 k, i64 depth, i64* stride) const {
    for (i64 done = 0; done < depth;) {
      const i64 n = (k + done) / positions, p = (k + done) % positions;
      const i64 length = at_most(positions - p, depth - done);
      TransposedColumns<T>{data + n * image, positions}.panel(packed + done * kPanel<T>, column, columns, p, length,
                                                              stride);
      done += length;
    }
    return packed;
  }
};

}  // namespace chainrule::CHAINRULE_ISA
