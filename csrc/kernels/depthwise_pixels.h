// Convolutions with one channel to sum over, of images whose pixels are vecs of channels (channels_last): forward, and
// the input gradient by its phases. A row of positions at a time, straight from the image: rows and columns outside of
// it are read from a vec of zeros. The order is that of depthwise.h: one chain over all taps, padding included.
#pragma once
#include "conv_arrays.h"
#include "conv_phases.h"

namespace chainrule::CHAINRULE_ISA {

constexpr i64 kPixelRows = 2;  // of positions that are computed together

template <int N>
struct Count {
  static constexpr int value = N;
};

template <class T>
CHAINRULE_INLINE i64 pixels_room(const ImageGroups& s, const Phases& phases) {
  return round_up(s.groups * s.out, vec<T>::size) * phases.taps();
}

// The inputs of a block of outputs' channels.
template <int Outputs, class T, class Lanes>
CHAINRULE_INLINE vec<T> load_inputs(const T* p, Lanes lanes) {
  if constexpr (Outputs == 1) {
    return load(p, lanes);
  } else {
    vec<T> twice, high;
    const vec<T> once = load(p, (lanes + 1) / 2);
    zip(once, once, &twice, &high);
    return twice;
  }
}

// The rows of x that neighbouring rows of positions see: those of tap row ty of position row i at ty + i * step.
template <class T>
struct SeenRows {
  static constexpr i64 kMost = kBlockK + kPixelRows - 1;
  const T* row[kMost];
  i64 pixel[kMost];  // 0: the row lies outside, and is a vec of zeros again and again
  CHAINRULE_INLINE const T* at(i64 i, i64 x, i64 channel) const {
    return row[i] + (pixel[i] ? x * pixel[i] + channel : 0);
  }
};

// Positions of one row, Count of them from u on, whose windows lie between the image's left and right edge, Taps in a
// row or, where that is 0, any number. x: the column of tap 0 of the first.
template <int Outputs, int Count, int Taps, class T, class Lanes>
CHAINRULE_INLINE void inner_positions(T* y, i64 pitch, const SeenRows<T>& rows, const T* weights, const View& v, i64 x,
                                      i64 channel, Lanes lanes) {
  vec<T> sum[Count];
#pragma GCC unroll 4
  for (int i = 0; i < Count; i++) sum[i] = vec<T>(0);
  for (i64 ty = 0; ty < v.kh; ty++) {
    const i64 step = v.step_x * rows.pixel[ty];
    const T* from = rows.at(ty, x, channel);
    const i64 taps = Taps > 0 ? Taps : v.kw;
#pragma GCC unroll 8
    for (i64 tx = 0; tx < taps; tx++, from += v.delta_x * rows.pixel[ty], weights += vec<T>::size) {
      const vec<T> w = load(weights);
#pragma GCC unroll 4
      for (int i = 0; i < Count; i++) sum[i] = fma(w, load_inputs<Outputs>(from + i * step, lanes), sum[i]);
    }
  }
  for (int i = 0; i < Count; i++) store(y + i * pitch, sum[i], lanes);
}

// A block of Rows x Count positions, Step apart, of a window of K x K whose taps are one apart: every pixel is loaded
// once. With taps that go up and to the left (and a step of one), positions are numbered from the far corner, so that
// each sum's taps ascend.
template <int Outputs, int K, int Step, int Rows, int Count, class T, class Lanes>
CHAINRULE_OUT_OF_LINE void square_block(T* y, i64 line, i64 pitch, const SeenRows<T>& rows, const T* weights, i64 delta,
                                        i64 x, i64 channel, Lanes lanes) {
  constexpr i64 size = vec<T>::size;
  vec<T> sum[Rows][Count];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < Count; i++) sum[r][i] = vec<T>(0);
#pragma GCC unroll 16
  for (int seen = 0; seen < (Rows - 1) * Step + K; seen++) {
    constexpr int kPixels = (Count - 1) * Step + K;
    const T* const from = rows.at(seen, delta > 0 ? x : x + Count - 1, channel);
    const i64 step = delta * rows.pixel[seen];
    vec<T> pixel[kPixels];
#pragma GCC unroll 16
    for (int j = 0; j < kPixels; j++) pixel[j] = keep(load_inputs<Outputs>(from + j * step, lanes));
#pragma GCC unroll 8
    for (int tx = 0; tx < K; tx++)
#pragma GCC unroll 4
      for (int r = 0; r < Rows; r++)
        if (seen >= r * Step && seen < r * Step + K) {
          const vec<T> w = keep(load(weights + ((seen - r * Step) * K + tx) * size));
#pragma GCC unroll 4
          for (int i = 0; i < Count; i++) sum[r][i] = fma(w, pixel[i * Step + tx], sum[r][i]);
        }
  }
  const i64 down = delta > 0 ? line : -line, right = delta > 0 ? pitch : -pitch;
  T* const corner = delta > 0 ? y : y + (Rows - 1) * line + (Count - 1) * pitch;
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < Count; i++) store(corner + r * down + i * right, sum[r][i], lanes);
}

// A position near an edge.
template <int Outputs, class T, class Lanes>
CHAINRULE_OUT_OF_LINE void edge_position(T* y, const SeenRows<T>& rows, const T* weights, const View& v, i64 x,
                                         i64 channel, Lanes lanes) {
  alignas(64) const T zeros[vec<T>::size] = {};
  vec<T> total(0);
  for (i64 ty = 0; ty < v.kh; ty++)
    for (i64 tx = 0; tx < v.kw; tx++) {
      const i64 at = x + tx * v.delta_x;
      const bool inside = at >= 0 && at < v.w && rows.pixel[ty];
      total = fma(load(weights + (ty * v.kw + tx) * vec<T>::size),
                  load_inputs<Outputs>(inside ? rows.at(ty, at, channel) : zeros, lanes), total);
    }
  store(y, total, lanes);
}

// The rows that a row of positions sees, tap by tap: `count` of them from y on, delta apart.
template <class T>
CHAINRULE_INLINE void see_rows(SeenRows<T>* rows, const T* image, i64 pixel, const View& v, i64 y, i64 count, i64 delta,
                               const T* zeros) {
  for (i64 i = 0; i < count; i++, y += delta) {
    const bool inside = y >= 0 && y < v.h;
    rows->row[i] = inside ? image + y * v.w * pixel : zeros;
    rows->pixel[i] = inside ? pixel : 0;
  }
}

// Windows for positions_of_phase: of vecs of channels of y, taps ascending.
template <class T>
CHAINRULE_INLINE void pack_windows(Team& team, T* to, const Weights<T>& w, const ImageGroups& s, const PixelPhase& at) {
  constexpr i64 size = vec<T>::size;
  const View& v = at.view;
  const TapList &y = at.taps_y, &x = at.taps_x;
  const i64 channels = s.groups * s.out;
  parallel_for(team, ceil_div(channels, size), ceil_div(kFlatGrain, at_least(i64(1), size * v.taps())),
               [&](i64 begin, i64 end) {
                 for (i64 c = begin * size; c < end * size; c++) {
                   const T* const window = c < channels ? w.at(c / s.out, c % s.out) : nullptr;
                   T* lane = to + c / size * v.taps() * size + c % size;
                   for (i64 ty = 0; ty < v.kh; ty++)
                     for (i64 tx = 0; tx < v.kw; tx++, lane += size)
                       *lane = window ? window[(y.first + ty * y.step) * w.kw + x.first + tx * x.step] : T(0);
                 }
               });
}

// How the rows of positions of one phase are computed, of an image whose pixels lie x_pixel apart.
template <class T>
struct PixelRows {
  View view;
  i64 x_pixel, pitch, line;  // elements from a pixel of x, a position of y, a row of positions to the next
  i64 channels, outputs;     // of y; of them for each of x
  bool far;                  // what comes next is sent for; else the prefetcher is enough

  PixelRows(const PixelPhase& at, i64 x_pixel, i64 y_pixel, i64 width, i64 channels, i64 outputs, bool far)
      : view(at.view),
        x_pixel(x_pixel),
        pitch(y_pixel * at.step_x),
        line(at.step_y * width * y_pixel),
        channels(channels),
        outputs(outputs),
        far(far) {}

  // Rows [first, first + count), at most kPixelRows. to: the first one's first position; image: the first pixel;
  // weights: packed by pack_windows. The channels of a few positions follow each other, as they lie.
  void operator()(T* to, const T* image, const T* weights, i64 first, i64 count) const;
};

template <class T>
CHAINRULE_OUT_OF_LINE void PixelRows<T>::operator()(T* to, const T* image, const T* weights, i64 first,
                                                    i64 count) const {
  constexpr i64 size = vec<T>::size, kCount = 4;
  const View v = view;
  const i64 pitch = this->pitch, line = this->line, x_pixel = this->x_pixel;
  const i64 step = v.step_x, delta = v.delta_x;
  const Span inner = whole_columns(v);
  const bool even = v.kh == v.kw && v.step_y == step && v.delta_y == delta && (delta == 1 || delta == -1);
  const bool three = kThreeHasItsOwn && even && v.kh == 3 && step == 1;
  const bool more = kMoreHaveTheirOwn<T> && even && outputs == 1 && (step == 1 || (step == 2 && delta == 1)) &&
                    (v.kh == 3 || (kHoldsWindows<T> && (v.kh == 5 || v.kh == 7)));
  alignas(64) const T zeros[size] = {};
  // f(channel of y, of x, weights, lanes, tag of the outputs that share an input) for all vecs of channels.
  const auto each_vec_of_channels = [&](auto&& f) {
    for (i64 c = 0; c < channels; c += size) {
      const T* const window = weights + c * v.taps();
      if (outputs == 2)
        f(c, c / 2, window, at_most(size, channels - c), Count<2>());
      else if (c + size <= channels)
        f(c, c, window, Whole(), Count<1>());
      else
        f(c, c, window, channels - c, Count<1>());
    }
  };
  const auto row_positions = [&](i64 row, i64 u, i64 end_u, bool edge) {
    SeenRows<T> rows;
    see_rows(&rows, image, x_pixel, v, (first + row) * v.step_y + v.off_y, v.kh, v.delta_y, zeros);
    for (; u < end_u;) {
      const i64 x = u * v.step_x + v.off_x;
      const bool four = !edge && u + kCount <= end_u;
      each_vec_of_channels([&](i64 c, i64 from, const T* w, auto lanes, auto of_input) {
        constexpr int kOutputs = decltype(of_input)::value;
        T* const y = to + row * line + u * pitch + c;
        if (edge)
          edge_position<kOutputs>(y, rows, w, v, x, from, lanes);
        else if (four && v.kw == 3)
          inner_positions<kOutputs, kCount, 3>(y, pitch, rows, w, v, x, from, lanes);
        else if (four && v.kw == 5)
          inner_positions<kOutputs, kCount, 5>(y, pitch, rows, w, v, x, from, lanes);
        else if (four)
          inner_positions<kOutputs, kCount, 0>(y, pitch, rows, w, v, x, from, lanes);
        else
          inner_positions<kOutputs, 1, 0>(y, pitch, rows, w, v, x, from, lanes);
      });
      u += four ? kCount : 1;
    }
  };
  for (i64 row = 0; row < count; row++) {
    row_positions(row, 0, inner.begin, true);
    row_positions(row, inner.end, v.columns, true);
  }
  if (!((three || more) && count == kPixelRows && inner.end - inner.begin >= kCount)) {
    for (i64 row = 0; row < count; row++) row_positions(row, inner.begin, inner.end, false);
    return;
  }
  SeenRows<T> rows;
  const i64 seen = (kPixelRows - 1) * step + v.kh;
  const i64 y = (delta > 0 ? first : first + kPixelRows - 1) * step + v.off_y;
  see_rows(&rows, image, x_pixel, v, y, seen, delta, zeros);
  // The rows that the next positions see, and these don't, as they lie; or the next image's.
  const T* next = image + (at_most(y, y + delta * (seen - 1)) + seen) * v.w * x_pixel;
  for (i64 u = inner.begin; u < inner.end; u += kCount) {
    u = at_most(u, inner.end - kCount);  // the last block may do some positions again
    each_vec_of_channels([&](i64 c, i64 from, const T* w, auto lanes, auto of_input) {
      if (far)
        for (i64 i = 0; i < kPixelRows * kCount * step * step; i++, next += size) send_for(next);
      constexpr int kOutputs = decltype(of_input)::value;
      const auto block = [&](auto taps, auto apart) {
        square_block<kOutputs, decltype(taps)::value, decltype(apart)::value, kPixelRows, kCount>(
            to + u * pitch + c, line, pitch, rows, w, delta, u * step + v.off_x, from, lanes);
      };
      if constexpr (kThreeHasItsOwn)
        if (three) return block(Count<3>(), Count<1>());
      if constexpr (kMoreHaveTheirOwn<T> && kOutputs == 1) {
        if constexpr (kWhole<decltype(lanes)>) {
          const auto window = [&](auto taps) { step == 1 ? block(taps, Count<1>()) : block(taps, Count<2>()); };
          if constexpr (kHoldsWindows<T>)
            if (v.kw > 3) return v.kw == 5 ? window(Count<5>()) : window(Count<7>());
          block(Count<3>(), Count<2>());
        } else {
          // Part of a vec: rare, and too seldom worth code of its own. With masks everywhere whole vecs took 1.9
          // times as long.
          for (i64 row = 0; row < kPixelRows; row++) {
            SeenRows<T> one;
            see_rows(&one, image, x_pixel, v, (first + row) * step + v.off_y, v.kh, delta, zeros);
            inner_positions<kOutputs, kCount, 0>(to + row * line + u * pitch + c, pitch, one, w, v, u * step + v.off_x,
                                                 from, lanes);
          }
        }
      }
    });
  }
}

template <class T>
CHAINRULE_INLINE void positions_of_phase(Team& team, const ConvArrays<T>& a, const ImageGroups& s, i64 width,
                                         const PixelPhase& at, const T* weights) {
  const View& v = at.view;
  const i64 batch = s.products / s.groups, channels = s.groups * s.out, bands = ceil_div(v.rows, kPixelRows);
  const bool far = batch * s.x.image * i64(sizeof(T)) > (i64(1) << 22);
  const PixelRows<T> rows(at, s.x.pixel, s.y.pixel, width, channels, s.out, far);
  const ColumnEpilogue<T> epilogue{a.epilogue};
  const i64 grain = ceil_div(kFlatGrain * 4, at_least(i64(1), kPixelRows * v.columns * channels * v.taps()));
  parallel_for(team, batch * bands, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 n = i / bands, first = i % bands * kPixelRows, count = at_most(kPixelRows, v.rows - first);
      T* const to = a.y + n * s.y.image + ((at.row + first * at.step_y) * width + at.column) * s.y.pixel;
      rows(to, a.x + n * s.x.image, weights, first, count);
      for (i64 row = 0; row < count; row++) epilogue(to + row * rows.line, rows.pitch, 0, v.columns, 0, channels);
    }
  });
}

// f(phase, its windows in scratch) for each phase.
template <class T, class F>
CHAINRULE_INLINE void each_phase(const ImageGroups& s, const Phases& phases, T* scratch, F&& f) {
  for (i64 i = 0; i < phases.count(); i++) {
    const PixelPhase at = phases[i];
    f(at, scratch);
    scratch += round_up(s.groups * s.out, vec<T>::size) * at.view.taps();
  }
}
template <class T>
CHAINRULE_INLINE void pack_all_windows(Team& team, const ConvArrays<T>& a, const ImageGroups& s, const Phases& phases,
                                       T* scratch) {
  each_phase(s, phases, scratch, [&](const PixelPhase& at, T* weights) { pack_windows(team, weights, a.w, s, at); });
  team.barrier();
}

template <class T>
CHAINRULE_INLINE void depthwise_pixels(Team& team, const ConvArrays<T>& a, const ImageGroups& s, const Phases& phases,
                                       T* scratch) {
  pack_all_windows(team, a, s, phases, scratch);
  each_phase(s, phases, scratch, [&](const PixelPhase& at, const T* weights) {
    positions_of_phase(team, a, s, phases.width(), at, weights);
  });
}

}  // namespace chainrule::CHAINRULE_ISA
