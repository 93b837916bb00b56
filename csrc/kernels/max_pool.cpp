// Maximum pooling of (images, h, w, channels) elements, windows as in Window2d. Where images are channels_first, each
// plane is an image of one channel: what is here, and small planes in pool_lanes.h. Several channels: pool_pixels.h.
//
// max_pool2d            y = max of the window's elements; indices = where, flat in the plane. The first of equal ones,
//                       the last NaN; -inf and -1 for a window without elements.
// max_pool2d_backward   dx[indices[o]] += dy[o]       (saved: indices)
// max_pool2d_gather     y[o] = x[indices[o]]          the gradient of max_pool2d_backward
#include "kernels.h"
#include "pool_lanes.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kGrain = 1 << 14;  // elements read or written per chunk

template <class T>
CHAINRULE_INLINE void max_of_window(T* y, i64* index, const T* x, const Window2d& g, i64 oy, i64 ox) {
  const i64 top = oy * g.sh - g.ph, left = ox * g.sw - g.pw;
  const Span ys = taps_inside(top, g.kh, g.dh, g.h), xs = taps_inside(left, g.kw, g.dw, g.w);
  T best = -__builtin_inff();
  i64 where = -1;
  for (i64 ky = ys.begin; ky < ys.end; ky++)
    for (i64 kx = xs.begin; kx < xs.end; kx++) {
      const i64 at = (top + ky * g.dh) * g.w + left + kx * g.dw;
      if (where < 0 || x[at] > best || x[at] != x[at]) best = x[at], where = at;
    }
  *y = best;
  if (index) *index = where;
}

// The n windows from column ox on, all whole in width: a lane each, taps in order. Positions are kept in the lanes'
// own integers, so the plane must have fewer than 2^31 elements. Kernel: taps of a square window, 0 for any.
template <int Stride, int Kernel, class T>
CHAINRULE_INLINE void max_of_windows(T* y, i64* indices, const T* x, const Window2d& g, i64 oy, i64 ox, i64 n) {
  using I = typename int_of<T>::type;
  constexpr int size = vec<T>::size;
  const i64 top = oy * g.sh - g.ph, kh = Kernel ? Kernel : g.kh, kw = Kernel ? Kernel : g.kw;
  const Span ys = Kernel && top >= 0 && top + Kernel <= g.h ? Span{0, Kernel} : taps_inside(top, kh, g.dh, g.h);
  I columns[size];
  for (int i = 0; i < size; i++) columns[i] = I((ox + i) * g.sw - g.pw);
  const vec<I> column = load(columns);
  vec<T> best(-__builtin_inff());
  vec<I> where(-1);
  for (i64 ky = ys.begin; ky < ys.end; ky++)
    for (i64 kx = 0; kx < kw; kx++) {
      const i64 at = (top + ky * g.dh) * g.w + kx * g.dw;
      const vec<T> v = load_every<Stride>(x + at + ox * g.sw - g.pw, g.sw, n);
      const bool first = ky == ys.begin && kx == 0;
      const mask<T> take = first ? mask<T>(I(-1)) : (v > best) | (v != v);
      best = select<T>(take, v, best);
      where = select<I>(take, column + I(at), where);
    }
  store(y, best, n);
  if (indices) {
    store(columns, where);
    for (i64 i = 0; i < n; i++) indices[i] = columns[i];
  }
}

template <int Stride, int Kernel, class T>
CHAINRULE_INLINE void max_rows(Team& team, T* y, i64* indices, const T* x, i64 planes, const Window2d& g) {
  Span whole = whole_windows(g);
  if (g.h * g.w >= i64(1) << 31) whole = {0, 0};
  const i64 rows = ceil_div(kGrain, at_least(i64(1), g.ow * g.kh * g.kw));
  parallel_for(team, planes * g.oh, rows, [&](i64 begin, i64 end) {
    for (i64 row = begin; row < end; row++) {
      const T* plane = x + row / g.oh * (g.h * g.w);
      const i64 oy = row % g.oh, at = row * g.ow;
      for (i64 ox = 0; ox < g.ow;) {
        i64* index = indices ? indices + at + ox : nullptr;
        if (ox >= whole.begin && ox < whole.end) {
          const i64 n = at_most(whole.end - ox, i64(vec<T>::size));
          max_of_windows<Stride, Kernel>(y + at + ox, index, plane, g, oy, ox, n);
          ox += n;
        } else {
          max_of_window(y + at + ox, index, plane, g, oy, ox);
          ox++;
        }
      }
    }
  });
}

template <class T>
CHAINRULE_INLINE bool in_blocks(i64 planes, const Window2d& g) {
  return worth_blocks<T>(planes, g.h * g.w, max_results(g));
}

}  // namespace

template <class T>
i64 max_pool2d_scratch(i64 planes, i64 channels, const Window2d& g, i64 threads) {
  return channels == 1 && in_blocks<T>(planes, g) ? threads * block_room<T>(g.h * g.w, max_results(g)) : 0;
}

template <class T>
void max_pool2d(Team& team, T* y, i64* indices, const T* x, i64 planes, i64 channels, const Window2d& g, T* scratch) {
  if (channels > 1)
    max_pixels(team, y, indices, x, planes, channels, g);
  else if (in_blocks<T>(planes, g))
    max_planes(team, y, indices, x, planes, g, scratch);
  else if (g.sw == 2 && g.kh == 2 && g.kw == 2 && g.dh == 1)
    max_rows<2, 2>(team, y, indices, x, planes, g);
  else if (g.sw == 2)
    max_rows<2, 0>(team, y, indices, x, planes, g);
  else if (g.sw == 1)
    max_rows<1, 0>(team, y, indices, x, planes, g);
  else
    max_rows<0, 0>(team, y, indices, x, planes, g);
}

// A plane is scattered by one thread in the order of its outputs: the same bits however many threads there are.
// An index outside the plane is left out and reported in *bad; -1 stands for an empty window.
template <class T>
void max_pool2d_backward(Team& team, T* dx, i32* bad, const T* dy, const i64* indices, i64 planes, i64 channels, i64 in,
                         i64 out) {
  if (channels > 1) return max_pixels_backward(team, dx, bad, dy, indices, planes, channels, in, out);
  parallel_for(team, planes, ceil_div(kGrain, at_least(i64(1), in + out)), [&](i64 begin, i64 end) {
    for (i64 plane = begin; plane < end; plane++) {
      T* to = dx + plane * in;
      for (i64 i = 0; i < in; i++) to[i] = 0;
      for (i64 o = plane * out; o < (plane + 1) * out; o++) {
        const i64 at = indices[o];
        if (u64(at) < u64(in))
          to[at] += dy[o];
        else if (at != -1)
          __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
      }
    }
  });
}

template <class T>
void max_pool2d_gather(Team& team, T* y, i32* bad, const T* x, const i64* indices, i64 planes, i64 channels, i64 in,
                       i64 out) {
  if (channels > 1) return max_pixels_gather(team, y, bad, x, indices, planes, channels, in, out);
  parallel_for(team, planes, ceil_div(kGrain, at_least(i64(1), out)), [&](i64 begin, i64 end) {
    for (i64 plane = begin; plane < end; plane++)
      for (i64 o = plane * out; o < (plane + 1) * out; o++) {
        const i64 at = indices[o];
        y[o] = u64(at) < u64(in) ? x[plane * in + at] : T(0);
        if (u64(at) >= u64(in) && at != -1) __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
      }
  });
}

INSTANTIATE(max_pool2d)
INSTANTIATE(max_pool2d_scratch)
INSTANTIATE(max_pool2d_backward)
INSTANTIATE(max_pool2d_gather)

}  // namespace chainrule::CHAINRULE_ISA
