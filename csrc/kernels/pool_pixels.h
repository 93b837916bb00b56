// Pooling of images whose channels lie together, (images, h, w, channels): a vec of channels where pool.cpp has a row
// of windows. Terms are added in the same order but for adaptive_avg_pool2d's, so the bits are the same.
#pragma once
#include "window.h"

namespace chainrule::CHAINRULE_ISA {

constexpr i64 kPixelGrain = 1 << 14;  // elements read or written per chunk

// body(image, row) for each of `rows` rows of each image, of so many elements' work.
template <class F>
CHAINRULE_INLINE void each_row(Team& team, i64 images, i64 rows, i64 work, F&& body) {
  parallel_for(team, images * rows, ceil_div(kPixelGrain, at_least(i64(1), work)), [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; r++) body(r / rows, r % rows);
  });
}

// One row of windows of one image, for all channels: put(o, c, best, places, lanes) for each output o of the row, of
// channels c and on. Places are kept in the lanes' own integers: a plane must have fewer than 2^31 elements.
template <class T, class Put>
CHAINRULE_INLINE void max_pixel_row(const T* x, i64 channels, const Window2d& g, i64 oy, Put&& put) {
  using I = typename int_of<T>::type;
  const i64 top = oy * g.sh - g.ph;
  const Span ys = taps_inside(top, g.kh, g.dh, g.h);
  for (i64 ox = 0; ox < g.ow; ox++) {
    const i64 left = ox * g.sw - g.pw;
    const Span xs = taps_inside(left, g.kw, g.dw, g.w);
    each_vec<T>(0, channels, [&](i64 c, auto lanes) {
      vec<T> best(-__builtin_inff());
      vec<I> where(-1);
      for (i64 ky = ys.begin; ky < ys.end; ky++)
        for (i64 kx = xs.begin; kx < xs.end; kx++) {
          const i64 at = (top + ky * g.dh) * g.w + left + kx * g.dw;
          const vec<T> v = load(x + at * channels + c, lanes);
          const bool first = ky == ys.begin && kx == xs.begin;
          const mask<T> take = first ? mask<T>(I(-1)) : (v > best) | (v != v);
          best = select<T>(take, v, best);
          where = select<I>(take, vec<I>(I(at)), where);
        }
      put(ox, c, best, where, lanes);
    });
  }
}

template <class T, class I>
CHAINRULE_INLINE void put_places(i64* to, vec<I> places, i64 n) {
  I lanes[vec<T>::size];
  store(lanes, places);
  for (i64 k = 0; k < n; k++) to[k] = lanes[k];
}
template <class T, class I>
CHAINRULE_INLINE void put_places(i64* to, vec<I> places, Whole) {
  put_places<T>(to, places, i64(vec<T>::size));
}

template <class T>
void max_pixels(Team& team, T* y, i64* indices, const T* x, i64 images, i64 channels, const Window2d& g) {
  each_row(team, images, g.oh, g.ow * g.kh * g.kw * channels, [&](i64 image, i64 oy) {
    const i64 row = (image * g.oh + oy) * g.ow * channels;
    max_pixel_row(x + image * g.h * g.w * channels, channels, g, oy,
                  [&](i64 ox, i64 c, vec<T> best, auto places, auto lanes) {
                    store(y + row + ox * channels + c, best, lanes);
                    if (indices) put_places<T>(indices + row + ox * channels + c, places, lanes);
                  });
  });
}

// body(image, c) for the strips of channels [c, c + kStrip) of each image, which one thread sees whole.
template <class T, class F>
CHAINRULE_INLINE void each_strip(Team& team, i64 images, i64 channels, i64 pixels, F&& body) {
  constexpr i64 kStrip = 4 * vec<T>::size;
  const i64 strips = ceil_div(channels, kStrip), work = pixels * at_most(channels, kStrip);
  parallel_for(team, images * strips, ceil_div(kPixelGrain, at_least(i64(1), work)), [&](i64 begin, i64 end) {
    for (i64 s = begin; s < end; s++) {
      const i64 c = s % strips * kStrip;
      body(s / strips, c, at_most(channels, c + kStrip));
    }
  });
}

template <class T>
void max_pixels_backward(Team& team, T* dx, i32* bad, const T* dy, const i64* indices, i64 images, i64 channels, i64 in,
                         i64 out) {
  each_strip<T>(team, images, channels, in + out, [&](i64 image, i64 first, i64 end) {
    T* const to = dx + image * in * channels;
    for (i64 i = 0; i < in; i++)
      each_vec<T>(first, end, [&](i64 c, auto lanes) { store(to + i * channels + c, vec<T>(T(0)), lanes); });
    for (i64 o = image * out; o < (image + 1) * out; o++)
      for (i64 c = first; c < end; c++) {
        const i64 at = indices[o * channels + c];
        if (u64(at) < u64(in))
          to[at * channels + c] += dy[o * channels + c];
        else if (at != -1)
          __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
      }
  });
}

template <class T>
void max_pixels_gather(Team& team, T* y, i32* bad, const T* x, const i64* indices, i64 images, i64 channels, i64 in,
                       i64 out) {
  each_row(team, images, out, channels, [&](i64 image, i64 o) {
    const i64 row = (image * out + o) * channels;
    for (i64 c = 0; c < channels; c++) {
      const i64 at = indices[row + c];
      y[row + c] = u64(at) < u64(in) ? x[(image * in + at) * channels + c] : T(0);
      if (u64(at) >= u64(in) && at != -1) __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
    }
  });
}

// One row of windows of one image, for all channels. count(oy, ox): what a window's sum is divided by.
template <class T, class F>
CHAINRULE_INLINE void avg_pixel_row(T* y, const T* x, i64 channels, const Window2d& g, i64 oy, F&& count) {
  const i64 top = oy * g.sh - g.ph;
  const Span ys = taps_inside(top, g.kh, 1, g.h);
  for (i64 ox = 0; ox < g.ow; ox++) {
    const i64 left = ox * g.sw - g.pw;
    const Span xs = taps_inside(left, g.kw, 1, g.w);
    const T divisor = T(count(oy, ox));
    each_vec<T>(0, channels, [&](i64 c, auto lanes) {
      vec<T> total(T(0));
      for (i64 iy = top + ys.begin; iy < top + ys.end; iy++)
        for (i64 ix = left + xs.begin; ix < left + xs.end; ix++)
          total = total + load(x + (iy * g.w + ix) * channels + c, lanes);
      store(y + ox * channels + c, total / divisor, lanes);
    });
  }
}

template <class T, class F>
void avg_pixels(Team& team, T* y, const T* x, i64 images, i64 channels, const Window2d& g, F&& count) {
  each_row(team, images, g.oh, g.ow * g.kh * g.kw * channels, [&](i64 image, i64 oy) {
    avg_pixel_row(y + (image * g.oh + oy) * g.ow * channels, x + image * g.h * g.w * channels, channels, g, oy, count);
  });
}

// v / n; a product where that is the same, and much faster.
template <class T>
struct Over {
  bool exact;
  T by;
  CHAINRULE_INLINE explicit Over(i64 n) : exact(n > 0 && (n & (n - 1)) == 0), by(exact ? T(1) / T(n) : T(n)) {}
  CHAINRULE_INLINE vec<T> operator()(vec<T> v) const { return exact ? v * vec<T>(by) : v / by; }
};

// The windows that hold an axis's elements. above(i): those of element i, as a span; beside(span, i): from that of i
// - 1.
template <class Above, class Beside>
struct Holders {
  Above above;
  Beside beside;
};
template <class Above, class Beside>
Holders(Above, Beside) -> Holders<Above, Beside>;

// A row of dx of an average, gathered: the sum of the shares that the windows (oy, ox) which hold a pixel give it, in
// ascending order; by_rows: each row's sum, then the sum of these. dx: the row; dy: the image; share(oy, ox): makes a
// window's share of its dy.
template <bool by_rows, class T, class H, class F>
CHAINRULE_INLINE void avg_gather_row(T* dx, const T* dy, i64 channels, const Window2d& g, i64 iy, const H& holders,
                                     F&& share) {
  const Span ys = holders.above(iy);
  Span xs = holders.beside(Span{0, 0}, 0), next = xs;
  for (i64 ix = 0, run; ix < g.w; ix += run, xs = next) {
    T* const to = dx + ix * channels;
    // Neighbours in the same windows and in no others.
    for (run = 1; ix + run < g.w; run++) {
      next = holders.beside(xs, ix + run);
      if (next.begin != xs.begin || next.end != xs.end) break;
    }
    const auto put = [&](i64 c, vec<T> v, auto lanes) {
      for (i64 i = 0; i < run; i++) store(to + i * channels + c, v, lanes);
    };
    if (ys.end - ys.begin == 1 && xs.end - xs.begin == 1) {
      const T* const only = dy + (ys.begin * g.ow + xs.begin) * channels;
      const auto of = share(ys.begin, xs.begin);
      each_vec<T>(0, channels, [&](i64 c, auto lanes) { put(c, vec<T>(T(0)) + of(load(only + c, lanes)), lanes); });
      continue;
    }
    each_vec<T>(0, channels, [&](i64 c, auto lanes) {
      vec<T> total(T(0));
      for (i64 oy = ys.begin; oy < ys.end; oy++) {
        vec<T> row = by_rows ? vec<T>(T(0)) : total;
        for (i64 ox = xs.begin; ox < xs.end; ox++)
          row = row + share(oy, ox)(load(dy + (oy * g.ow + ox) * channels + c, lanes));
        total = by_rows ? total + row : row;
      }
      put(c, total, lanes);
    });
  }
}

template <bool by_rows, class T, class H, class F>
CHAINRULE_INLINE void avg_gather(Team& team, T* dx, const T* dy, i64 images, i64 channels, const Window2d& g,
                                 const H& holders, F&& count) {
  each_row(team, images, g.h, g.w * channels, [&](i64 image, i64 iy) {
    avg_gather_row<by_rows>(dx + (image * g.h + iy) * g.w * channels, dy + image * g.oh * g.ow * channels, channels, g,
                            iy, holders, [&](i64 oy, i64 ox) { return Over<T>(count(oy, ox)); });
  });
}

// The windows of one axis that hold element i.
CHAINRULE_INLINE Span windows_with(i64 i, i64 outputs, i64 kernel, i64 stride, i64 pad) {
  const i64 last = i + pad, first = last - kernel + 1;
  return {first <= 0 ? 0 : ceil_div(first, stride), at_most(outputs, last / stride + 1)};
}

// The same from those that hold i - 1, without a division. The first: from {0, 0}.
CHAINRULE_INLINE Span next_windows(Span s, i64 i, i64 outputs, i64 kernel, i64 stride, i64 pad) {
  while (s.begin * stride + kernel <= i + pad) s.begin++;
  while (s.end < outputs && s.end * stride <= i + pad) s.end++;
  return s;
}

// Of each bin, rows' sums added up: their order depends on the bin alone.
template <class T, class Bin>
void adaptive_pixels(Team& team, T* y, const T* x, i64 images, i64 channels, i64 h, i64 w, i64 oh, i64 ow, Bin&& bin) {
  each_strip<T>(team, images * oh, channels, ceil_div(h, at_least(i64(1), oh)) * w, [&](i64 row, i64 first, i64 end) {
    const T* const from = x + row / oh * h * w * channels;
    const Span ys = bin(row % oh, oh, h);
    for (i64 ox = 0; ox < ow; ox++) {
      const Span xs = bin(ox, ow, w);
      const T count = T((ys.end - ys.begin) * (xs.end - xs.begin));
      T* const sum = y + (row * ow + ox) * channels;
      for (i64 iy = ys.begin; iy < ys.end; iy++)
        each_vec<T>(first, end, [&](i64 c, auto lanes) {
          vec<T> line(T(0));
          for (i64 ix = xs.begin; ix < xs.end; ix++) line = line + load(from + (iy * w + ix) * channels + c, lanes);
          store(sum + c, iy == ys.begin ? line : load(sum + c, lanes) + line, lanes);
        });
      each_vec<T>(first, end, [&](i64 c, auto lanes) { store(sum + c, load(sum + c, lanes) / count, lanes); });
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
