// Average pooling of (images, h, w, channels) elements, windows as in Window2d. Where images are channels_first, each
// plane is an image of one channel: what is here, and small planes in pool_lanes.h. Several channels: pool_pixels.h.
//
// avg_pool2d            y = sum of the window / divisor; divisor = the window's elements, with the padding or without,
//                       or the same number everywhere.
// avg_pool2d_backward   dx[i] = sum over the windows o that hold i of dy[o] / divisor[o]
// adaptive_avg_pool2d   window of output i of O along an axis of size n: [floor(i n / O), ceil((i + 1) n / O))
#include "kernels.h"
#include "pool_lanes.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kGrain = 1 << 14;  // elements read or written per chunk

// Elements that output o of one axis is divided by: those of its window inside the plane, with padding those inside the
// padded plane (a window of ceil_mode may reach past that too).
CHAINRULE_INLINE i64 extent(i64 o, i64 kernel, i64 stride, i64 pad, i64 size, bool count_include_pad) {
  const i64 start = o * stride - pad, end = at_most(start + kernel, size + pad);
  if (count_include_pad) return end - start;
  return at_most(end, size) - at_least(start, i64(0));
}

CHAINRULE_INLINE i64 divisor_at(const Window2d& g, i64 oy, i64 ox, bool count_include_pad, i64 divisor) {
  if (divisor) return divisor;
  return extent(oy, g.kh, g.sh, g.ph, g.h, count_include_pad) * extent(ox, g.kw, g.sw, g.pw, g.w, count_include_pad);
}

template <int Stride, class T>
CHAINRULE_INLINE void avg_rows(Team& team, T* y, const T* x, i64 planes, const Window2d& g, bool count_include_pad,
                               i64 divisor) {
  const Span whole = whole_windows(g);
  const i64 rows = ceil_div(kGrain, at_least(i64(1), g.ow * g.kh * g.kw));
  parallel_for(team, planes * g.oh, rows, [&](i64 begin, i64 end) {
    for (i64 row = begin; row < end; row++) {
      const T* plane = x + row / g.oh * (g.h * g.w);
      T* out = y + row * g.ow;
      const i64 oy = row % g.oh, top = oy * g.sh - g.ph;
      const Span ys = taps_inside(top, g.kh, 1, g.h);
      for (i64 ox = 0; ox < g.ow;) {
        const i64 left = ox * g.sw - g.pw;
        const T count = T(divisor_at(g, oy, ox, count_include_pad, divisor));
        if (ox >= whole.begin && ox < whole.end) {  // windows whole in width have one divisor
          const i64 n = at_most(whole.end - ox, i64(vec<T>::size));
          vec<T> total(0);
          for (i64 ky = ys.begin; ky < ys.end; ky++)
            for (i64 kx = 0; kx < g.kw; kx++)
              total = total + load_every<Stride>(plane + (top + ky) * g.w + left + kx, g.sw, n);
          store(out + ox, total / count, n);
          ox += n;
        } else {
          const Span xs = taps_inside(left, g.kw, 1, g.w);
          T total = 0;
          for (i64 ky = ys.begin; ky < ys.end; ky++)
            for (i64 kx = xs.begin; kx < xs.end; kx++) total += plane[(top + ky) * g.w + left + kx];
          out[ox] = total / count;
          ox++;
        }
      }
    }
  });
}

}  // namespace

template <class T>
i64 avg_pool2d_scratch(i64 planes, i64 channels, const Window2d& g, i64 threads) {
  const i64 in = g.h * g.w, out = g.oh * g.ow;
  return channels == 1 && worth_blocks<T>(planes, in, out) ? threads * block_room<T>(in, out) : 0;
}

template <class T>
void avg_pool2d(Team& team, T* y, const T* x, i64 planes, i64 channels, const Window2d& g, bool count_include_pad,
                i64 divisor, T* scratch) {
  const auto count = [&](i64 oy, i64 ox) { return divisor_at(g, oy, ox, count_include_pad, divisor); };
  if (channels > 1)
    avg_pixels(team, y, x, planes, channels, g, count);
  else if (worth_blocks<T>(planes, g.h * g.w, g.oh * g.ow))
    avg_planes(team, y, x, planes, g, scratch, count);
  else if (g.sw == 1)
    avg_rows<1>(team, y, x, planes, g, count_include_pad, divisor);
  else if (g.sw == 2)
    avg_rows<2>(team, y, x, planes, g, count_include_pad, divisor);
  else
    avg_rows<0>(team, y, x, planes, g, count_include_pad, divisor);
}

namespace {

// Elements of scratch for a row of dx, and for one of dy: vecs are stored whole there, because what a masked store has
// written can't be loaded for a while.
template <class T>
CHAINRULE_INLINE i64 room_for_row(i64 n) {
  return round_up(n, vec<T>::size) + 2 * vec<T>::size;
}

// A row of dy over the columns that its windows hold, in ascending order. whole: the outputs whose windows are whole in
// width, which have one divisor; count(ox) gives it.
template <class T, class F>
CHAINRULE_INLINE void spread_windows(T* row, T* shares, const T* dy, const Window2d& g, Span whole, F&& count) {
  constexpr i64 size = vec<T>::size;
  const Over<T> over(count(whole.begin));
  for (i64 i = 0; i < room_for_row<T>(g.w); i += size) store(row + i, vec<T>(T(0)));
  for (i64 i = whole.begin; i < whole.end; i += size) store(shares + i, over(load(dy + i, whole.end - i)));
  for (i64 ox = 0; ox < whole.begin; ox++) shares[ox] = dy[ox] / T(count(ox));
  for (i64 ox = whole.end; ox < g.ow; ox++) shares[ox] = dy[ox] / T(count(ox));
  const auto one_by_one = [&](i64 begin, i64 end) {
    for (i64 ox = begin; ox < end; ox++) {
      const i64 left = ox * g.sw - g.pw;
      const Span xs = taps_inside(left, g.kw, 1, g.w);
      const T share = shares[ox];
      for (i64 kx = xs.begin; kx < xs.end; kx++) row[left + kx] += share;
    }
  };
  // In vecs of outputs, last taps first: so each element gets its terms in the same order. Behind the last output 0 is
  // added.
  const auto gain = [](T* to, vec<T> v) { store(to, load(to) + v); };
  one_by_one(0, whole.begin);
  if (g.sw == 1) {
    for (i64 kx = g.kw; kx-- > 0;)
      for (i64 ox = whole.begin; ox < whole.end; ox += size)
        gain(row + ox - g.pw + kx, load(shares + ox, whole.end - ox));
  } else if (g.sw == 2) {
    for (i64 kx = (g.kw - 1) / 2 * 2; kx >= 0; kx -= 2)
      for (i64 ox = whole.begin; ox < whole.end; ox += size) {
        const vec<T> share = load(shares + ox, whole.end - ox);
        vec<T> low, high;
        zip(share, kx + 1 < g.kw ? share : vec<T>(T(0)), &low, &high);
        gain(row + 2 * ox - g.pw + kx, low);
        gain(row + 2 * ox - g.pw + kx + size, high);
      }
  } else {
    one_by_one(whole.begin, whole.end);
  }
  one_by_one(whole.end, g.ow);
}

// Rows of more than a vec are as fast by themselves.
template <class T>
CHAINRULE_INLINE bool backward_in_blocks(i64 planes, const Window2d& g) {
  return g.w <= vec<T>::size && worth_blocks<T>(planes, g.h * g.w, g.oh * g.ow);
}

}  // namespace

template <class T>
i64 avg_pool2d_backward_scratch(i64 planes, i64 channels, const Window2d& g, i64 threads) {
  if (channels == 1 && backward_in_blocks<T>(planes, g)) return threads * block_room<T>(g.h * g.w, g.oh * g.ow);
  return threads * (room_for_row<T>(g.w) + room_for_row<T>(g.ow));
}

// Each row of dy is spread over the columns of one scratch row, which then goes to the kh rows of dx under it: the
// first to come there is stored, the others are added.
template <class T>
void avg_pool2d_backward(Team& team, T* dx, const T* dy, i64 planes, i64 channels, const Window2d& g,
                         bool count_include_pad, i64 divisor, T* scratch) {
  const auto count = [&](i64 oy, i64 ox) { return divisor_at(g, oy, ox, count_include_pad, divisor); };
  const Holders holders{[&](i64 iy) { return windows_with(iy, g.oh, g.kh, g.sh, g.ph); },
                        [&](Span s, i64 ix) { return next_windows(s, ix, g.ow, g.kw, g.sw, g.pw); }};
  if (channels > 1) return avg_gather<true>(team, dx, dy, planes, channels, g, holders, count);
  if (backward_in_blocks<T>(planes, g)) return avg_planes_backward(team, dx, dy, planes, g, scratch, holders, count);
  T* const spread = scratch + team.rank() * (room_for_row<T>(g.w) + room_for_row<T>(g.ow));
  T* const shares = spread + room_for_row<T>(g.w);
  const Span whole = whole_windows(g);
  const i64 plane_cost = g.h * g.w + g.oh * (g.ow * g.kw + g.kh * g.w);
  parallel_for(team, planes, ceil_div(kGrain, at_least(i64(1), plane_cost)), [&](i64 begin, i64 end) {
    for (i64 plane = begin; plane < end; plane++) {
      T* const to = dx + plane * g.h * g.w;
      i64 done = 0;  // rows of dx
      const auto fill = [&](i64 last) {
        for (; done < last; done++)
          each_vec<T>(0, g.w, [&](i64 i, auto lanes) { store(to + done * g.w + i, vec<T>(T(0)), lanes); });
      };
      for (i64 oy = 0; oy < g.oh; oy++) {
        const i64 top = oy * g.sh - g.ph;
        const Span ys = taps_inside(top, g.kh, 1, g.h);
        if (ys.begin == ys.end) continue;
        spread_windows(spread, shares, dy + (plane * g.oh + oy) * g.ow, g, whole,
                       [&](i64 ox) { return count(oy, ox); });
        fill(top + ys.begin);
        for (i64 iy = top + ys.begin; iy < top + ys.end; iy++) {
          T* const line = to + iy * g.w;
          const bool first = iy == done;
          each_vec<T>(0, g.w, [&](i64 i, auto lanes) {
            const vec<T> x = load(spread + i, lanes);
            store(line + i, first ? x : load(line + i, lanes) + x, lanes);
          });
          done += first;
        }
      }
      fill(g.h);
    }
  });
}

namespace {

CHAINRULE_INLINE Span bin(i64 i, i64 bins, i64 size) { return {i * size / bins, ceil_div((i + 1) * size, bins)}; }
// The bins that hold element i.
CHAINRULE_INLINE Span bins_with(i64 i, i64 bins, i64 size) { return {i * bins / size, ceil_div((i + 1) * bins, size)}; }
// The same from those that hold i - 1.
CHAINRULE_INLINE Span next_bins(Span s, i64 i, i64 bins, i64 size) {
  while ((s.begin + 1) * size <= i * bins) s.begin++;
  while (s.end * size < (i + 1) * bins) s.end++;
  return s;
}

// Sum of rows x columns elements, rows `stride` apart: lanes while a row fills half of them, else one by one.
template <class T>
CHAINRULE_INLINE T sum_block(const T* x, i64 rows, i64 columns, i64 stride) {
  constexpr i64 size = vec<T>::size;
  if (columns == stride) columns *= rows, rows = 1;  // rows that follow each other
  if (columns < size / 2) {
    T total = 0;
    for (i64 r = 0; r < rows; r++)
      for (i64 c = 0; c < columns; c++) total += x[r * stride + c];
    return total;
  }
  vec<T> total(0);
  for (i64 r = 0; r < rows; r++) {
    i64 c = 0;
    for (; c + size <= columns; c += size) total = total + load(x + r * stride + c);
    if (c < columns) total = total + load(x + r * stride + c, columns - c);
  }
  return sum(total);
}

}  // namespace

template <class T>
void adaptive_avg_pool2d(Team& team, T* y, const T* x, i64 planes, i64 channels, i64 h, i64 w, i64 oh, i64 ow) {
  if (channels > 1) return adaptive_pixels(team, y, x, planes, channels, h, w, oh, ow, bin);
  parallel_for(team, planes, ceil_div(kGrain, at_least(i64(1), h * w + oh * ow)), [&](i64 begin, i64 end) {
    for (i64 plane = begin; plane < end; plane++)
      for (i64 oy = 0; oy < oh; oy++)
        for (i64 ox = 0; ox < ow; ox++) {
          const Span ys = bin(oy, oh, h), xs = bin(ox, ow, w);
          const i64 rows = ys.end - ys.begin, columns = xs.end - xs.begin;
          const T total = sum_block(x + (plane * h + ys.begin) * w + xs.begin, rows, columns, w);
          y[(plane * oh + oy) * ow + ox] = total / T(rows * columns);
        }
  });
}

namespace {

// The rows of dx under one row of bins, where no bins overlap: one is spread, the others are its copies.
template <class T>
CHAINRULE_INLINE void spread_row(T* dx, const T* dy, i64 rows, i64 w, i64 ow) {
  const i64 columns = w / ow;
  for (i64 ox = 0; ox < ow; ox++) {
    const T each = T(0) + dy[ox] / T(rows * columns);  // a sum of one term: 0 for -0
    for (i64 ix = 0; ix < columns; ix++) dx[ox * columns + ix] = each;
  }
  for (i64 r = 1; r < rows; r++)
    each_vec<T>(0, w, [&](i64 i, auto lanes) { store(dx + r * w + i, load(dx + i, lanes), lanes); });
}

}  // namespace

template <class T>
void adaptive_avg_pool2d_backward(Team& team, T* dx, const T* dy, i64 planes, i64 channels, i64 h, i64 w, i64 oh,
                                  i64 ow) {
  if (channels > 1) {
    const auto length = [](i64 i, i64 bins, i64 size) { return bin(i, bins, size).end - bin(i, bins, size).begin; };
    const Holders holders{[=](i64 iy) { return bins_with(iy, oh, h); },
                          [=](Span s, i64 ix) { return next_bins(s, ix, ow, w); }};
    return avg_gather<false>(team, dx, dy, planes, channels, {h, w, oh, ow, 0, 0, 0, 0, 0, 0, 0, 0}, holders,
                             [=](i64 oy, i64 ox) { return length(oy, oh, h) * length(ox, ow, w); });
  }
  const bool apart = oh > 0 && ow > 0 && h % oh == 0 && w % ow == 0;
  parallel_for(team, planes, ceil_div(kGrain, at_least(i64(1), h * w + oh * ow)), [&](i64 begin, i64 end) {
    for (i64 plane = begin; plane < end; plane++) {
      T* to = dx + plane * h * w;
      const T* from = dy + plane * oh * ow;
      for (i64 oy = 0; apart && oy < oh; oy++) spread_row(to + oy * (h / oh) * w, from + oy * ow, h / oh, w, ow);
      if (apart) continue;
      for (i64 i = 0; i < h * w; i++) to[i] = 0;
      for (i64 oy = 0; oy < oh; oy++)
        for (i64 ox = 0; ox < ow; ox++) {
          const Span ys = bin(oy, oh, h), xs = bin(ox, ow, w);
          const T each = from[oy * ow + ox] / T((ys.end - ys.begin) * (xs.end - xs.begin));
          for (i64 iy = ys.begin; iy < ys.end; iy++)
            for (i64 ix = xs.begin; ix < xs.end; ix++) to[iy * w + ix] += each;
        }
    }
  });
}

INSTANTIATE(adaptive_avg_pool2d)
INSTANTIATE(adaptive_avg_pool2d_backward)
INSTANTIATE(avg_pool2d)
INSTANTIATE(avg_pool2d_scratch)
INSTANTIATE(avg_pool2d_backward)
INSTANTIATE(avg_pool2d_backward_scratch)

}  // namespace chainrule::CHAINRULE_ISA
