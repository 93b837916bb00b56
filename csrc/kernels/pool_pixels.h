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

// Places are kept in the lanes' own integers: a plane must have fewer than 2^31 elements.
template <class T>
void max_pixels(Team& team, T* y, i64* indices, const T* x, i64 images, i64 channels, const Window2d& g) {
  using I = typename int_of<T>::type;
  each_row(team, images, g.oh, g.ow * g.kh * g.kw * channels, [&](i64 image, i64 oy) {
    const T* const from = x + image * g.h * g.w * channels;
    const i64 top = oy * g.sh - g.ph, row = (image * g.oh + oy) * g.ow * channels;
    const Span ys = taps_inside(top, g.kh, g.dh, g.h);
    for (i64 ox = 0; ox < g.ow; ox++) {
      const i64 left = ox * g.sw - g.pw, out = row + ox * channels;
      const Span xs = taps_inside(left, g.kw, g.dw, g.w);
      each_vec<T>(0, channels, [&](i64 c, auto lanes) {
        vec<T> best(-__builtin_inff());
        vec<I> where(-1);
        for (i64 ky = ys.begin; ky < ys.end; ky++)
          for (i64 kx = xs.begin; kx < xs.end; kx++) {
            const i64 at = (top + ky * g.dh) * g.w + left + kx * g.dw;
            const vec<T> v = load(from + at * channels + c, lanes);
            const bool first = ky == ys.begin && kx == xs.begin;
            const mask<T> take = first ? mask<T>(I(-1)) : (v > best) | (v != v);
            best = select<T>(take, v, best);
            where = select<I>(take, vec<I>(I(at)), where);
          }
        store(y + out + c, best, lanes);
        if (indices) put_places<T>(indices + out + c, where, lanes);
      });
    }
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

// count(oy, ox): what a window's sum is divided by.
template <class T, class F>
void avg_pixels(Team& team, T* y, const T* x, i64 images, i64 channels, const Window2d& g, F&& count) {
  each_row(team, images, g.oh, g.ow * g.kh * g.kw * channels, [&](i64 image, i64 oy) {
    const T* const from = x + image * g.h * g.w * channels;
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
            total = total + load(from + (iy * g.w + ix) * channels + c, lanes);
        store(y + ((image * g.oh + oy) * g.ow + ox) * channels + c, total / divisor, lanes);
      });
    }
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

// dx of an average, gathered: Σ dy / count over the windows (oy, ox) that hold a pixel, in ascending order; by_rows:
// each row's sum, then the sum of these. above(iy): those windows, as a span; beside(span, ix): from that of ix - 1.
template <class T, bool by_rows, class Above, class Beside, class F>
CHAINRULE_INLINE void avg_gather(Team& team, T* dx, const T* dy, i64 images, i64 channels, const Window2d& g,
                                 Above&& above, Beside&& beside, F&& count) {
  each_row(team, images, g.h, g.w * channels, [&](i64 image, i64 iy) {
    const Span ys = above(iy);
    const T* const from = dy + image * g.oh * g.ow * channels;
    Span xs = beside(Span{0, 0}, 0), next = xs;
    for (i64 ix = 0, run; ix < g.w; ix += run, xs = next) {
      T* const to = dx + ((image * g.h + iy) * g.w + ix) * channels;
      // Neighbours in the same windows and in no others.
      for (run = 1; ix + run < g.w; run++) {
        next = beside(xs, ix + run);
        if (next.begin != xs.begin || next.end != xs.end) break;
      }
      const auto put = [&](i64 c, vec<T> v, auto lanes) {
        for (i64 i = 0; i < run; i++) store(to + i * channels + c, v, lanes);
      };
      if (ys.end - ys.begin == 1 && xs.end - xs.begin == 1) {
        const T* const only = from + (ys.begin * g.ow + xs.begin) * channels;
        const Over<T> over(count(ys.begin, xs.begin));
        each_vec<T>(0, channels, [&](i64 c, auto lanes) { put(c, vec<T>(T(0)) + over(load(only + c, lanes)), lanes); });
        continue;
      }
      each_vec<T>(0, channels, [&](i64 c, auto lanes) {
        vec<T> total(T(0));
        for (i64 oy = ys.begin; oy < ys.end; oy++) {
          vec<T> row = by_rows ? vec<T>(T(0)) : total;
          for (i64 ox = xs.begin; ox < xs.end; ox++)
            row = row + Over<T>(count(oy, ox))(load(from + (oy * g.ow + ox) * channels + c, lanes));
          total = by_rows ? total + row : row;
        }
        put(c, total, lanes);
      });
    }
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
