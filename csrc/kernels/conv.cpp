// conv2d:                 y[n, o, v, u] = f(bias[o] + sum over c, ky, kx of w[o, c, ky, kx] x[n, c, iy, ix])
//                         iy = v * stride - padding + ky * dilation, x = 0 outside; c runs over o's group
// conv2d_backward_input:  dx[n, c, iy, ix] = sum over o, ky, kx of w[o, c, ky, kx] dy[n, o, v, u]
// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix]
// conv2d_backward_bias:   db[o] = sum over n, v, u of dy[n, o, v, u]
// x (batch, cin, h, w), w (cout, cin / groups, kh, kw), y (batch, cout, oh, ow), all NCHW.
//
// Each is a product whose B (or A) is packed from the image panel by panel: docs/numerics.md has the order of the sums.
#include "activation.h"
#include "depthwise.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

struct Sizes {
  i64 in, out;      // channels of a group
  i64 taps;         // kh * kw
  i64 image, size;  // elements of a plane of x, of y
  i64 products;     // batch * groups
};

CHAINRULE_INLINE Sizes sizes_of(const Conv2d& c) {
  const Window2d& g = c.window;
  return {c.cin / c.groups, c.cout / c.groups, g.kh * g.kw, g.h * g.w, g.oh * g.ow, c.batch * c.groups};
}

// Rows of y are output channels.
template <class T>
struct ConvEpilogue {
  const T* bias;
  Activation activation;

  __attribute__((noinline)) void operator()(T* y, i64 ldy, i64 row, i64 rows, i64, i64 columns) const {
    if (!bias && activation == Activation::none) return;
    by_activation(activation, [&](auto kind) {
      for (i64 r = 0; r < rows; r++)
        for (i64 j = 0; j < columns; j += vec<T>::size) {
          const i64 lanes = at_most(columns - j, i64(vec<T>::size));
          vec<T> z = load(y + r * ldy + j, lanes);
          if (bias) z = z + vec<T>(bias[row + r]);
          store(y + r * ldy + j, activate<decltype(kind)::value>(z), lanes);
        }
    });
  }
};

template <class T>
void conv2d_direct(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, Activation activation) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  const i64 depth = s.in * s.taps;
  const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), s.size * depth));
  parallel_for(team, conv.batch * conv.cout, grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 o = i % conv.cout, first = (i / conv.cout * conv.groups + o / s.out) * s.in;
      T* const plane = y + i * s.size;
      for (i64 v = 0; v < view.rows; v++)
        direct_row(x + first * s.image, w + o * depth, s.in, view, v,
                   [&](i64 u, i64 n, vec<T> sums) { store(plane + v * view.columns + u, sums, n); });
      ConvEpilogue<T>{bias, activation}(plane, s.size, o, 1, 0, s.size);
    }
  });
}

}  // namespace

template <class T>
i64 conv2d_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (worth_direct(s.out, s.in * s.taps)) return 0;
  return products_scratch<T>(s.products, grid_of<T>(s.products, s.out, s.size, s.in * s.taps), threads);
}

template <class T>
void conv2d(Team& team, T* y, const T* x, const T* w, const T* bias, const Conv2d& conv, Activation activation,
            T* scratch) {
  const Sizes s = sizes_of(conv);
  const i64 depth = s.in * s.taps;
  if (worth_direct(s.out, depth)) return conv2d_direct(team, y, x, w, bias, conv, activation);
  const View view = view_of(conv.window);
  products<T>(team, s.products, grid_of<T>(s.products, s.out, s.size, depth), scratch, [&](i64 i) {
    const i64 group = i % conv.groups;
    return product_of(y + i * s.out * s.size, s.size, false, PlainRows<T>{w + group * s.out * depth, depth},
                      Patches<T>{x + i * s.in * s.image, view},
                      ConvEpilogue<T>{bias ? bias + group * s.out : nullptr, activation});
  });
}

namespace {

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

CHAINRULE_INLINE View view_of_phase(const Window2d& g, const Phase& y, const Phase& x) {
  return flattened({g.oh, g.ow, y.count, x.count, y.taps, x.taps, 1, 1, y.offset, x.offset, y.delta, x.delta});
}

// f(py, px, y, x) for every phase of the plane.
template <class F>
CHAINRULE_INLINE void each_phase(const Window2d& g, F&& f) {
  for (i64 py = 0; py < at_most(g.sh, g.h); py++)
    for (i64 px = 0; px < at_most(g.sw, g.w); px++)
      f(py, px, phase_of(py, g.h, g.kh, g.sh, g.ph, g.dh), phase_of(px, g.w, g.kw, g.sw, g.pw, g.dw));
}

// What a phase takes: its weights, transposed to (groups, in, out, taps); room for the sums of one product per thread.
template <class T>
struct PhaseRoom {
  Grid grid;
  i64 weights, sums, products, end;
};

template <class T>
CHAINRULE_INLINE PhaseRoom<T> phase_room(const Conv2d& conv, const Sizes& s, i64 positions, i64 taps, i64 threads) {
  const bool strided = conv.window.sh > 1 || conv.window.sw > 1;
  PhaseRoom<T> r{grid_of<T>(s.products, s.in, positions, s.out * taps), 0, 0, 0, 0};
  r.sums = round_up(conv.cin * s.out * taps, vec<T>::size);
  r.products = r.sums + (strided ? threads * round_up(s.in * positions, vec<T>::size) : 0);
  r.end = r.products + products_scratch<T>(s.products, r.grid, threads);
  return r;
}

// Sums of one phase, row by row, to every sw-th column of every sh-th row of dx.
template <class T>
struct ToPhase {
  T* dx;  // the group's first plane, at the phase's first element
  const Window2d& g;
  i64 width;  // positions of a row of the phase

  CHAINRULE_INLINE void put(i64 channel, i64 position, T value) const {
    dx[channel * g.h * g.w + position / width * g.sh * g.w + position % width * g.sw] = value;
  }
  void operator()(T* c, i64 ldc, i64 row, i64 rows, i64 column, i64 columns) const {
    if (g.sh == 1 && g.sw == 1) return;  // the sums are dx
    for (i64 r = 0; r < rows; r++)
      for (i64 j = 0; j < columns; j++) put(row + r, column + j, c[r * ldc + j]);
  }
};

template <class T>
void transpose_weights(Team& team, T* to, const T* w, const Conv2d& conv, const Sizes& s, const Phase& y,
                       const Phase& x) {
  const i64 taps = y.taps * x.taps, kw = conv.window.kw;
  parallel_for(team, conv.cin, ceil_div(kFlatGrain, at_least(i64(1), s.out * taps)), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++)
      for (i64 o = 0; o < s.out; o++)
        for (i64 t = 0; t < taps; t++) {
          const T* const from = w + ((i / s.in * s.out + o) * s.in + i % s.in) * s.taps;
          to[(i * s.out + o) * taps + t] = from[(y.first + t / x.taps * y.step) * kw + x.first + t % x.taps * x.step];
        }
  });
}

}  // namespace

template <class T>
i64 conv2d_backward_input_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  i64 most = 0;
  each_phase(conv.window, [&](i64, i64, const Phase& y, const Phase& x) {
    most = at_least(most, phase_room<T>(conv, s, y.count * x.count, y.taps * x.taps, threads).end);
  });
  return most;
}

template <class T>
void conv2d_backward_input(Team& team, T* dx, const T* dy, const T* w, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  const Window2d& g = conv.window;
  const bool strided = g.sh > 1 || g.sw > 1;
  each_phase(g, [&](i64 py, i64 px, const Phase& y, const Phase& x) {
    const View view = view_of_phase(g, y, x);
    const i64 taps = y.taps * x.taps, depth = s.out * taps, positions = y.count * x.count;
    const PhaseRoom<T> room = phase_room<T>(conv, s, positions, taps, team.size());
    transpose_weights(team, scratch, w, conv, s, y, x);
    team.barrier();
    const auto target = [&](i64 i) { return ToPhase<T>{dx + i * s.in * s.image + py * g.w + px, g, x.count}; };
    if (depth > 0 && worth_direct(s.in, depth)) {
      const i64 grain = ceil_div(kFlatGrain * 8, at_least(i64(1), positions * depth));
      parallel_for(team, conv.batch * conv.cin, grain, [&](i64 begin, i64 end) {
        for (i64 i = begin; i < end; i++) {
          const i64 c = i % conv.cin, product = i / s.in;
          const ToPhase<T> to = target(product);
          for (i64 v = 0; v < view.rows; v++)
            direct_row(dy + product * s.out * s.size, scratch + c * depth, s.out, view, v,
                       [&](i64 u, i64 n, vec<T> sums) {
                         const i64 at = v * view.columns + u;
                         if (!strided) return store(to.dx + c % s.in * s.image + at, sums, n);
                         T lanes[vec<T>::size];
                         store(lanes, sums);
                         for (i64 l = 0; l < n; l++) to.put(c % s.in, at + l, lanes[l]);
                       });
        }
      });
    } else {
      T* const own = scratch + room.sums + team.rank() * round_up(s.in * positions, vec<T>::size);
      products<T>(team, s.products, room.grid, scratch + room.products, [&](i64 i) {
        const ToPhase<T> to = target(i);
        return product_of(strided ? own : to.dx, positions, false,
                          PlainRows<T>{scratch + i % conv.groups * s.in * depth, depth},
                          Patches<T>{dy + i * s.out * s.size, view}, to);
      });
    }
    if (strided) team.barrier();  // the next phase writes its weights
  });
}

namespace {

// The weight gradient is computed transposed, (in * taps) x out per group: patches are then rows that lie along k.
template <class T>
struct ToWeights {
  T* dw;
  i64 ld;
  void operator()(T* c, i64 ldc, i64 row, i64 rows, i64 column, i64 columns) const {
    for (i64 j = 0; j < columns; j++)
      for (i64 r = 0; r < rows; r++) dw[(column + j) * ld + row + r] = c[r * ldc + j];
  }
};

// Images per partial sum of the depthwise weight gradient.
CHAINRULE_INLINE i64 images_per_sum(const Sizes& s) { return ceil_div(i64(1) << 14, at_least(i64(1), s.size)); }

template <class T>
void depthwise_weights(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* partials) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  const i64 images = images_per_sum(s), sums = ceil_div(conv.batch, images);
  parallel_for(team, sums * conv.cout, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 o = i % conv.cout, first = i / conv.cout * images;
      depthwise_weight(partials + i * s.taps, dy + o * s.size, conv.cout * s.size, x + o / s.out * s.image,
                       conv.cin * s.image, first, at_most(conv.batch, first + images), view);
    }
  });
  team.barrier();
  parallel_for(team, conv.cout * s.taps, kFlatGrain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      T total = 0;
      for (i64 part = 0; part < sums; part++) total += partials[part * conv.cout * s.taps + i];
      dw[i] = total;
    }
  });
}

template <class T>
Grid weight_grid(const Conv2d& conv, const Sizes& s) {
  return grid_of<T>(conv.groups, s.in * s.taps, s.out, conv.batch * s.size);
}

}  // namespace

template <class T>
i64 conv2d_backward_weight_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (s.in == 1 && worth_direct(s.out, 1)) return ceil_div(conv.batch, images_per_sum(s)) * conv.cout * s.taps;
  const Grid grid = weight_grid<T>(conv, s);
  return threads * round_up(grid.m * grid.n, vec<T>::size) + products_scratch<T>(conv.groups, grid, threads);
}

template <class T>
void conv2d_backward_weight(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  if (s.in == 1 && worth_direct(s.out, 1)) return depthwise_weights(team, dw, dy, x, conv, scratch);
  const Grid grid = weight_grid<T>(conv, s);
  const View view = view_of(conv.window);
  const i64 room = round_up(grid.m * grid.n, vec<T>::size);
  T* const own = scratch + team.rank() * room;
  products<T>(team, conv.groups, grid, scratch + team.size() * room, [&](i64 group) {
    return product_of(own, grid.n, false, PatchRows<T>{x + group * s.in * s.image, conv.cin * s.image, view},
                      ChannelColumns<T>{dy + group * s.out * s.size, conv.cout * s.size, s.size},
                      ToWeights<T>{dw + group * s.out * grid.m, grid.m});
  });
}

template <class T>
void conv2d_backward_bias(Team& team, T* db, const T* dy, i64 batch, i64 channels, i64 size) {
  parallel_for(team, channels, ceil_div(kFlatGrain, at_least(i64(1), batch * size)), [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; c++) {
      vec<T> total(0);
      for (i64 n = 0; n < batch; n++) {
        const T* const plane = dy + (n * channels + c) * size;
        vec<T> image(0);
        for (i64 i = 0; i < size; i += vec<T>::size)
          image = image + load(plane + i, at_most(size - i, i64(vec<T>::size)));
        total = total + image;
      }
      db[c] = sum(total);
    }
  });
}

INSTANTIATE(conv2d)
INSTANTIATE(conv2d_scratch)
INSTANTIATE(conv2d_backward_bias)
INSTANTIATE(conv2d_backward_input)
INSTANTIATE(conv2d_backward_input_scratch)
INSTANTIATE(conv2d_backward_weight)
INSTANTIATE(conv2d_backward_weight_scratch)

}  // namespace chainrule::CHAINRULE_ISA
