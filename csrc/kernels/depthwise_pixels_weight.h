// The weight gradient of convolutions with one channel to sum over, of images whose pixels are vecs of channels
// (channels_last). Lanes are channels, and nothing is copied: rows and columns outside of an image are read from a vec
// of zeros. A part's sum (PositionParts) is one chain over its positions, row after row; parts are added in ascending
// order inside chunks, and the chunks' sums in ascending order (docs/numerics.md).
#pragma once
#include "conv_sizes.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
struct PixelGradientCut {
  View view;
  PositionParts of_image;
  i64 vecs;                  // of dy's channels
  i64 parts, chunk, chunks;  // of the batch; of a chunk; chunks
  i64 piece, pieces;         // vecs that are computed together: what they read of a part should stay near
  i64 partial;               // elements of a chunk's sums

  PixelGradientCut(const Conv2d& conv, const Sizes& s) : view(view_of(conv.window)), of_image(view) {
    constexpr i64 one = 1, kChunks = 16, kItems = 16, kFewVecs = 4, kManyVecs = 16;
    vecs = ceil_div(conv.cout, i64(vec<T>::size));
    parts = conv.batch * of_image.count();
    const Chunks cut = chunks_of(parts, kChunks);
    chunk = cut.size, chunks = parts ? cut.count : 0;
    const i64 wanted = at_most(ceil_div(vecs, kFewVecs), ceil_div(kItems, at_least(one, chunks)));
    piece = at_least(one, ceil_div(vecs, at_least(one, at_least(wanted, ceil_div(vecs, kManyVecs)))));
    pieces = ceil_div(vecs, piece);
    partial = vecs * s.taps * vec<T>::size;
  }
  i64 scratch() const { return chunks * partial; }
};

// Cache lines that are sent for one after the other: `run` of them that follow each other in each of some pixels.
struct PixelLines {
  const char* at;
  i64 run, gap;  // gap: bytes from a run's end to the next
  i64 left;

  template <class T>
  CHAINRULE_INLINE PixelLines(const T* first, i64 pixel, i64 elements, i64 line) {
    constexpr i64 bytes = 64;
    run = at_least(i64(1), elements * i64(sizeof(T)) / bytes), gap = pixel * i64(sizeof(T)) - run * bytes;
    left = run - line % run;
    at = reinterpret_cast<const char*>(first + line / run * pixel) + line % run * bytes;
  }
  CHAINRULE_INLINE void send() {
    send_for(at);
    at += 64;
    if (--left == 0) at += gap, left = run;
  }
};

// A part of an image's positions, and what comes next, which is sent for on the way.
template <class T>
struct PixelPart {
  View view;
  Span inner;  // the columns whose windows lie between the image's left and right edge
  i64 x_pixel, dy_pixel, dy_row;
  bool sends;
  PixelLines x_next, dy_next;
};

// Of one vec of channels: x is its image's first pixel there, dy the part's first position. KH x KW taps, one apart,
// from tap (first_y, first_x) on, and positions Step apart: the pixels of some positions are loaded once.
template <int KH, int KW, int Step, class T>
CHAINRULE_OUT_OF_LINE void window_gradient(T* total, const T* dy, const T* x, const PixelPart<T>& part, i64 first_y,
                                           i64 first_x, i64 lanes) {
  constexpr int size = vec<T>::size, kCount = kHoldsWindows<T> || KW < 4 ? 4 : 2;
  const View& v = part.view;
  PixelLines x_next = part.x_next, dy_next = part.dy_next;
  const bool sends = part.sends && first_y == 0 && first_x == 0;
  Span inner = part.inner;
  if (KW < v.kw) {  // less of the row is near an edge for some of its taps
    View taps = v;
    taps.kw = KW, taps.off_x += first_x;
    inner = whole_columns(taps);
  }
  alignas(64) const T zeros[size] = {};
  vec<T> sum[KH * KW];
#pragma GCC unroll 32
  for (int t = 0; t < KH * KW; t++) sum[t] = vec<T>(0);
  for (i64 row = 0; row < v.rows; row++, dy += part.dy_row) {
    const T* line[KH];
    i64 pixel[KH];
#pragma GCC unroll 8
    for (int ty = 0; ty < KH; ty++) {
      const i64 y = row * v.step_y + v.off_y + (first_y + ty) * v.delta_y;
      const bool inside = y >= 0 && y < v.h;
      line[ty] = inside ? x + y * v.w * part.x_pixel : zeros;
      pixel[ty] = inside ? part.x_pixel : 0;
    }
    const auto send = [&] {
      if (!sends) return;
      dy_next.send();
#pragma GCC unroll 4
      for (int i = 0; i < Step * Step; i++) x_next.send();
    };
    i64 u = 0;
    const auto one_by_one = [&](i64 end) {
      for (; u < end; u++) {
        send();
        const vec<T> g = keep(load(dy + u * part.dy_pixel, lanes));
        const i64 at = u * Step + v.off_x + first_x;
#pragma GCC unroll 8
        for (int tx = 0; tx < KW; tx++) {
          const bool inside = at + tx >= 0 && at + tx < v.w;
#pragma GCC unroll 8
          for (int ty = 0; ty < KH; ty++) {
            const T* const from = inside ? line[ty] + (at + tx) * pixel[ty] : zeros;
            sum[ty * KW + tx] = fma(g, load(from, lanes), sum[ty * KW + tx]);
          }
        }
      }
    };
    one_by_one(inner.begin);
    for (; u + kCount <= inner.end; u += kCount) {
      vec<T> g[kCount];
#pragma GCC unroll 4
      for (int i = 0; i < kCount; i++) send(), g[i] = keep(load(dy + (u + i) * part.dy_pixel, lanes));
#pragma GCC unroll 8
      for (int ty = 0; ty < KH; ty++) {
        const T* const from = line[ty] + (u * Step + v.off_x + first_x) * pixel[ty];
#pragma GCC unroll 16
        for (int j = 0; j < (kCount - 1) * Step + KW; j++) {
          const vec<T> seen = keep(load(from + j * pixel[ty], lanes));
#pragma GCC unroll 4
          for (int i = 0; i < kCount; i++)
            if (j - i * Step >= 0 && j - i * Step < KW)
              sum[ty * KW + j - i * Step] = fma(g[i], seen, sum[ty * KW + j - i * Step]);
        }
      }
    }
    one_by_one(v.columns);
  }
#pragma GCC unroll 32
  for (int t = 0; t < KH * KW; t++) {
    T* const to = total + ((first_y + t / KW) * v.kw + first_x + t % KW) * size;
    store(to, load(to) + sum[t]);
  }
}

// The same for taps [first, first + Taps) of any window, with one or two outputs for an input.
template <int Taps, class T>
CHAINRULE_OUT_OF_LINE void taps_gradient(T* total, const T* dy, const T* x, const PixelPart<T>& part, i64 first,
                                         i64 lanes, bool twice) {
  constexpr i64 size = vec<T>::size;
  const View& v = part.view;
  alignas(64) const T zeros[size] = {};
  vec<T> sum[Taps];
#pragma GCC unroll 8
  for (int t = 0; t < Taps; t++) sum[t] = vec<T>(0);
  for (i64 row = 0; row < v.rows; row++, dy += part.dy_row) {
    const T* line[Taps];
    i64 pixel[Taps], column[Taps];
    for (int t = 0; t < Taps; t++) {
      const i64 y = row * v.step_y + v.off_y + (first + t) / v.kw * v.delta_y;
      const bool inside = y >= 0 && y < v.h;
      line[t] = inside ? x + y * v.w * part.x_pixel : zeros;
      pixel[t] = inside ? part.x_pixel : 0;
      column[t] = v.off_x + (first + t) % v.kw * v.delta_x;
    }
    const auto position = [&](i64 u, auto&& seen) {
      const vec<T> g = keep(load(dy + u * part.dy_pixel, lanes));
#pragma GCC unroll 8
      for (int t = 0; t < Taps; t++) {
        const T* const from = seen(t);
        sum[t] = fma(g, twice ? load_inputs<2>(from, lanes) : load_inputs<1>(from, lanes), sum[t]);
      }
    };
    const auto near_edge = [&](i64 u) {
      position(u, [&](int t) {
        const i64 at = u * v.step_x + column[t];
        return at >= 0 && at < v.w ? line[t] + at * pixel[t] : zeros;
      });
    };
    i64 u = 0;
    for (; u < part.inner.begin; u++) near_edge(u);
    const T* from[Taps];
    for (int t = 0; t < Taps; t++) from[t] = line[t] + (u * v.step_x + column[t]) * pixel[t], pixel[t] *= v.step_x;
    for (; u < part.inner.end; u++) {
      position(u, [&](int t) { return from[t]; });
#pragma GCC unroll 8
      for (int t = 0; t < Taps; t++) from[t] += pixel[t];
    }
    for (int t = 0; t < Taps; t++) pixel[t] = line[t] == zeros ? 0 : part.x_pixel;
    for (; u < v.columns; u++) near_edge(u);
  }
#pragma GCC unroll 8
  for (int t = 0; t < Taps; t++) store(total + (first + t) * size, load(total + (first + t) * size) + sum[t]);
}
template <int Taps = kTapsAtOnce, class T>
CHAINRULE_INLINE void some_taps(T* total, const T* dy, const T* x, const PixelPart<T>& part, i64 first, i64 taps,
                                i64 lanes, bool twice) {
  if constexpr (Taps > 1)
    if (taps < Taps) return some_taps<Taps - 1>(total, dy, x, part, first, taps, lanes, twice);
  taps_gradient<Taps>(total, dy, x, part, first, lanes, twice);
}

// Taps whose sums the registers hold at once: whole windows, or some rows of them, or up to four taps of a row.
template <int Step, class T>
CHAINRULE_INLINE void unit_gradient(T* total, const T* dy, const T* x, const PixelPart<T>& part, i64 lanes) {
  const auto taps = [&](auto rows, auto columns, i64 first_y, i64 first_x) {
    window_gradient<decltype(rows)::value, decltype(columns)::value, Step>(total, dy, x, part, first_y, first_x, lanes);
  };
  const View& v = part.view;
  if constexpr (kHoldsWindows<T>) {
    if (v.kw == 3) return taps(Count<3>(), Count<3>(), 0, 0);
    if (v.kw == 5) return taps(Count<5>(), Count<5>(), 0, 0);
    taps(Count<3>(), Count<7>(), 0, 0);
    taps(Count<2>(), Count<7>(), 3, 0);
    taps(Count<2>(), Count<7>(), 5, 0);
  } else {
    for (i64 ty = 0; ty < v.kh; ty++)
      for (i64 tx = 0; tx < v.kw;) {
        const i64 left = v.kw - tx, count = left == 4 || left >= 7 ? 4 : at_most(left, i64(3));
        if (count == 4) taps(Count<1>(), Count<4>(), ty, tx);
        if (count == 3) taps(Count<1>(), Count<3>(), ty, tx);
        if (count == 2) taps(Count<1>(), Count<2>(), ty, tx);
        if (count == 1) taps(Count<1>(), Count<1>(), ty, tx);
        tx += count;
      }
  }
}

// total, a vec for each tap, += the sums of one part.
template <class T>
CHAINRULE_INLINE void pixel_gradients(T* total, const T* dy, const T* x, const PixelPart<T>& part, i64 lanes,
                                      i64 outputs) {
  const View& v = part.view;
  if constexpr (kMoreHaveTheirOwn<T>) {
    const bool held = !kHoldsWindows<T> || (v.kh == v.kw && (v.kh == 3 || v.kh == 5 || v.kh == 7));
    if (held && v.delta_x == 1 && outputs == 1 && v.step_x == 1) return unit_gradient<1>(total, dy, x, part, lanes);
    if (held && v.delta_x == 1 && outputs == 1 && v.step_x == 2) return unit_gradient<2>(total, dy, x, part, lanes);
  }
  each_tap_group(v.taps(),
                 [&](i64 first, i64 taps) { some_taps(total, dy, x, part, first, taps, lanes, outputs == 2); });
}

// dw from the sums of all chunks.
template <class T>
void add_chunks(Team& team, T* dw, const T* sums, const PixelGradientCut<T>& cut, i64 taps, i64 channels) {
  constexpr i64 size = vec<T>::size;
  parallel_for(team, cut.vecs, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin * taps; i < end * taps; i++) {
      vec<T> total(0);
      for (i64 chunk = 0; chunk < cut.chunks; chunk++) total = total + load(sums + chunk * cut.partial + i * size);
      T lanes[size];
      store(lanes, total);
      const i64 channel = i / taps * size;
      for (i64 l = 0; l < at_most(size, channels - channel); l++) dw[(channel + l) * taps + i % taps] = lanes[l];
    }
  });
}

template <class T>
void pixel_weights(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const PixelGradientCut<T> cut(conv, s);
  const View& v = cut.view;
  const i64 of_image = cut.of_image.count(), channels = conv.cout;
  struct Begin {
    i64 x, dy;
  };
  // Where a part's windows and positions begin.
  const auto begin_of = [&](i64 part) {
    const PositionParts::Place at = cut.of_image.place(part % of_image);
    return Begin{part / of_image * s.x.image + (at.row * v.step_y * v.w + at.column * v.step_x) * s.x.pixel,
                 part / of_image * s.y.image + (at.row * v.columns + at.column) * s.y.pixel};
  };
  parallel_for(team, cut.chunks * cut.pieces, 1, [&](i64 begin, i64 end) {
    for (i64 item = begin; item < end; item++) {
      const i64 chunk = item / cut.pieces, first = item % cut.pieces * cut.piece;
      const i64 last = at_most(cut.vecs, first + cut.piece);
      T* const totals = scratch + chunk * cut.partial;
      for (i64 i = first * s.taps; i < last * s.taps; i++) store(totals + i * size, vec<T>(0));
      for (i64 p = chunk * cut.chunk; p < at_most(cut.parts, (chunk + 1) * cut.chunk); p++) {
        const Begin here = begin_of(p), next = begin_of(at_most(p + 1, cut.parts - 1));
        const View view = cut.of_image.view(v, p % of_image);
        const T *const image = x + p / of_image * s.x.image, *const below = x + next.x, *const after = dy + next.dy;
        const i64 elements = (last - first) * size;
        for (i64 i = first; i < last; i++) {
          const i64 lines = (i - first) * view.positions();
          const PixelPart<T> part{
              view,
              whole_columns(view),
              s.x.pixel,
              s.y.pixel,
              v.columns * s.y.pixel,
              true,
              {below + first * size / s.out, s.x.pixel, elements / s.out, lines * v.step_x * v.step_y},
              {after + first * size, s.y.pixel, elements, lines}};
          pixel_gradients(totals + i * s.taps * size, dy + here.dy + i * size, image + i * size / s.out, part,
                          at_most(size, channels - i * size), s.out);
        }
      }
    }
  });
  team.barrier();
  add_chunks(team, dw, scratch, cut, s.taps, channels);
}

}  // namespace chainrule::CHAINRULE_ISA
