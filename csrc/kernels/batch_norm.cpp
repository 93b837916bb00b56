// Batch norm of x (batch, channels, space): each channel is normalised over the m = batch * space others. mean and rstd
// = 1 / sqrt(var + eps) are saved; h = (x - mean) rstd; weight and bias may be null (1 and 0).
//   y = f(z + residual), z = h weight + bias; residual may be null
//   training: mean and var are the batch's, and the running ones move towards mean and v = var m / (m - 1):
//             running_mean = (1 - momentum) running_mean + momentum mean, running_var likewise with v
//             dx = weight rstd (dz - Σ dz / m - h Σ dz h / m)
//   else:     mean and var are the running ones
//             dx = weight rstd dz
//   dweight = Σ dz h;   dbias = Σ dz
//   dz = dy f'(z), f none or relu and without a residual: z is made again, from x by the forward pass's operations
// residual lies as x does, dy too; y may be the memory of x or of the residual, dx that of dy. dx, dweight, dbias may
// be null where they aren't wanted. With space = 1, x is a matrix: of samples, or of the pixels of channels_last
// images.
#include "activation.h"
#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kTaskElements = 8192;
// Of a matrix: rows whose moments are taken in two passes, the second from the L1; rows of a task, whose result is one
// of the partial ones; rows whose gradients are summed before they join the sums; elements of each_block().
constexpr i64 kBlockRows = 128, kTaskRows = 1024, kSumRows = 16, kBlockElements = 2048;
template <class T>
constexpr i64 kStrip = 4 * vec<T>::size;  // columns of a task

CHAINRULE_INLINE i64 per_task(i64 n) { return at_least<i64>(1, kTaskElements / at_least<i64>(1, n)); }

// body(part, first row, end row, first column, end column) for each part of a matrix.
template <class T, class F>
CHAINRULE_INLINE void each_part(Team& team, i64 rows, i64 columns, F&& body) {
  const i64 strips = ceil_div(columns, kStrip<T>);
  const i64 work = at_most(rows, kTaskRows) * at_most(columns, kStrip<T>);
  parallel_for(team, ceil_div(rows, kTaskRows) * strips, per_task(work), [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; t++) {
      const i64 part = t / strips, row = part * kTaskRows, column = t % strips * kStrip<T>;
      body(part, row, at_most(rows, row + kTaskRows), column, at_most(columns, column + kStrip<T>));
    }
  });
}

// Of a vec of columns, as row_moments(): even and odd rows are summed apart, so that adds overlap.
template <class T, class L>
CHAINRULE_INLINE Moments<vec<T>> block_moments(const T* x, i64 rows, i64 stride, L lanes) {
  const vec<T> zero(T(0));
  vec<T> total[2] = {zero, zero}, off[2] = {zero, zero}, q[2] = {zero, zero};
  i64 r = 0;
  for (; r + 2 <= rows; r += 2)
    for (int k = 0; k < 2; k++) total[k] = total[k] + load(x + (r + k) * stride, lanes);
  if (r < rows) total[0] = total[0] + load(x + r * stride, lanes);
  const vec<T> mean = (total[0] + total[1]) / T(rows);
  const auto add = [&](int k, i64 row) {
    const vec<T> d = load(x + row * stride, lanes) - mean;
    off[k] = off[k] + d;
    q[k] = fma(d, d, q[k]);
  };
  for (r = 0; r + 2 <= rows; r += 2) add(0, r), add(1, r + 1);
  if (r < rows) add(0, r);
  const vec<T> rest = off[0] + off[1];
  return {mean + rest / T(rows), max(zero, q[0] + q[1] - rest * (rest / T(rows)))};
}

template <class T>
CHAINRULE_INLINE void matrix_moments(Team& team, T* partials, const T* x, i64 rows, i64 columns) {
  each_part<T>(team, rows, columns, [&](i64 part, i64 row, i64 end, i64 column, i64 columns_end) {
    T* const means = partials + part * 2 * columns;
    each_vec<T>(column, columns_end, [&](i64 c, auto lanes) {
      Moments<vec<T>> all = block_moments(x + row * columns + c, at_most(kBlockRows, end - row), columns, lanes);
      for (i64 r = row + kBlockRows; r < end; r += kBlockRows) {
        const i64 count = at_most(kBlockRows, end - r);
        all = join(all, T(r - row), block_moments(x + r * columns + c, count, columns, lanes), T(count));
      }
      store(means + c, all.mean, lanes);
      store(means + columns + c, all.squares, lanes);
    });
  });
}

// Of one channel, plane after plane.
template <class T>
CHAINRULE_INLINE Moments<T> plane_moments(const T* x, i64 batch, i64 channels, i64 space) {
  Moments<T> all = long_row_moments(x, space);
  for (i64 b = 1; b < batch; b++)
    all = join(all, T(b * space), long_row_moments(x + b * channels * space, space), T(space));
  return all;
}

// What training makes of a vec of channels' moments.
template <class T>
struct Statistics {
  T *mean, *rstd, *running_mean, *running_var;
  i64 m;
  T momentum, eps;
  template <class L>
  CHAINRULE_INLINE void move(T* running, i64 c, L lanes, vec<T> value) const {
    if (running) store(running + c, fma(value, vec<T>(momentum), load(running + c, lanes) * (T(1) - momentum)), lanes);
  }
  template <class L>
  CHAINRULE_INLINE void finish(i64 c, L lanes, const Moments<vec<T>>& all) const {
    store(mean + c, all.mean, lanes);
    store(rstd + c, vec<T>(T(1)) / sqrt(all.squares / T(m) + eps), lanes);
    move(running_mean, c, lanes, all.mean);
    move(running_var, c, lanes, all.squares / T(m - 1));
  }
};

// body(first element, channel) for each plane.
template <class F>
CHAINRULE_INLINE void each_plane(Team& team, i64 batch, i64 channels, i64 space, F&& body) {
  parallel_for(team, batch * channels, per_task(space), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) body(i * space, i % channels);
  });
}
// body(first element, rows) for each block of a matrix: few rows, so that they are read as one stream, but more than
// one, so that what belongs to a column is loaded once for them.
template <class F>
CHAINRULE_INLINE void each_block(Team& team, i64 rows, i64 columns, F&& body) {
  const i64 most = at_least<i64>(1, kBlockElements / at_least<i64>(1, columns));
  parallel_for(team, ceil_div(rows, most), per_task(most * columns), [&](i64 begin, i64 end) {
    for (i64 r = begin * most; r < at_most(rows, end * most); r += most) body(r * columns, at_most(most, rows - r));
  });
}

// y = f(y), of n elements.
template <class T>
CHAINRULE_OUT_OF_LINE void activate_line(T* y, i64 n, Activation activation) {
  by_activation(activation, [&](auto kind) {
    each_vec<T>(0, n,
                [&](i64 i, auto lanes) { store(y + i, activate<decltype(kind)::value>(load(y + i, lanes)), lanes); });
  });
}

// What becomes of the elements of z.
template <class T>
struct Finish {
  T* y;
  const T* residual;
  Activation activation;
  // max(floor, z) is relu, or z as it is: the same loop for both.
  vec<T> floor = activation == Activation::relu ? T(0) : -T(__builtin_inf());
  template <class L>
  CHAINRULE_INLINE void operator()(i64 i, L lanes, vec<T> z) const {
    if (residual) z = z + load(residual + i, lanes);
    store(y + i, max(floor, z), lanes);
  }
  // Once n of them are stored: the other activations, from the L1.
  CHAINRULE_INLINE void end(i64 at, i64 n) const {
    if (activation != Activation::none && activation != Activation::relu) activate_line(y + at, n, activation);
  }
};

}  // namespace

// Of a matrix: mean and squares of each part, and each channel's scale.
template <class T>
i64 batch_norm_partials(i64 batch, i64 channels, i64 space) {
  return space > 1 ? 0 : (2 * ceil_div(batch, kTaskRows) + 1) * channels;
}

template <class T>
void batch_norm(Team& team, T* y, T* mean, T* rstd, T* running_mean, T* running_var, const T* x, const T* weight,
                const T* bias, const T* residual, i64 batch, i64 channels, i64 space, bool training, T momentum, T eps,
                Activation activation, T* partials) {
  const i64 parts = ceil_div(batch, kTaskRows);
  const bool matrix = space == 1;
  T* const scales = partials + 2 * parts * channels;
  const Statistics<T> out = {mean, rstd, running_mean, running_var, batch * space, momentum, eps};
  if (training && matrix) {
    matrix_moments(team, partials, x, batch, channels);
    team.barrier();
  }
  const i64 width = matrix || !training ? vec<T>::size : 1;
  const i64 work = matrix ? 2 * parts * width : training ? batch * space : width;
  parallel_for(team, ceil_div(channels, width), per_task(work), [&](i64 begin, i64 end) {
    if (training && !matrix) {
      for (i64 c = begin; c < end; c++) {
        const Moments<T> all = plane_moments(x + c * space, batch, channels, space);
        out.finish(c, i64(1), Moments<vec<T>>{all.mean, all.squares});
      }
      return;
    }
    each_vec<T>(begin * width, at_most(channels, end * width), [&](i64 c, auto lanes) {
      if (training) {
        Moments<vec<T>> all = {load(partials + c, lanes), load(partials + channels + c, lanes)};
        for (i64 part = 1; part < parts; part++) {
          const T* const p = partials + part * 2 * channels + c;
          const i64 before = part * kTaskRows;
          all = join(all, T(before), Moments<vec<T>>{load(p, lanes), load(p + channels, lanes)},
                     T(at_most(kTaskRows, batch - before)));
        }
        out.finish(c, lanes, all);
      } else {
        store(mean + c, load(running_mean + c, lanes), lanes);
        store(rstd + c, vec<T>(T(1)) / sqrt(load(running_var + c, lanes) + eps), lanes);
      }
      if (matrix) store(scales + c, load(rstd + c, lanes) * or_value(weight, c, lanes, T(1)), lanes);
    });
  });
  team.barrier();
  const Finish<T> finish = {y, residual, activation};
  if (!matrix)
    each_plane(team, batch, channels, space, [=](i64 at, i64 c) {
      const T m = mean[c], scale = weight ? rstd[c] * weight[c] : rstd[c], shift = bias ? bias[c] : T(0);
      each_vec<T>(at, at + space, [=](i64 i, auto lanes) {
        finish(i, lanes, fma(load(x + i, lanes) - m, vec<T>(scale), vec<T>(shift)));
      });
      finish.end(at, space);
    });
  else
    each_block(team, batch, channels, [=](i64 at, i64 rows) {
      each_vec<T>(0, channels, [=](i64 j, auto lanes) {
        const vec<T> mu = load(mean + j, lanes), scale = load(scales + j, lanes),
                     shift = or_value(bias, j, lanes, T(0));
        for (i64 i = at + j; i < at + rows * channels; i += channels)
          finish(i, lanes, fma(load(x + i, lanes) - mu, scale, shift));
      });
      finish.end(at, rows * channels);
    });
}

namespace {

// The gradient of z, from that of y = relu(z) or, without relu, y = z; d = x - mean, and z = fma(d, scale, shift) as in
// the forward pass.
template <class T>
CHAINRULE_INLINE vec<T> through(bool relu, vec<T> dy, vec<T> d, vec<T> scale, vec<T> shift) {
  if (relu) dy = activate_backward<Activation::relu>(dy, fma(d, scale, shift));
  return dy;
}

// Σ dz and Σ dz (x - mean) of each part of a matrix.
template <class T>
CHAINRULE_INLINE void matrix_sums(Team& team, bool relu, T* partials, const T* dy, const T* x, const T* mean,
                                  const T* rstd, const T* weight, const T* bias, i64 rows, i64 columns) {
  each_part<T>(team, rows, columns, [&](i64 part, i64 row, i64 end, i64 column, i64 columns_end) {
    T* const sums = partials + part * 2 * columns;
    each_vec<T>(column, columns_end, [&](i64 c, auto lanes) {
      const vec<T> zero(T(0)), mu = load(mean + c, lanes);
      const vec<T> scale = load(rstd + c, lanes) * or_value(weight, c, lanes, T(1)),
                   shift = or_value(bias, c, lanes, T(0));
      vec<T> g = zero, gh = zero;
      for (i64 r = row; r < end; r += kSumRows) {
        vec<T> some = zero, some_h = zero;
        for (i64 k = r; k < at_most(end, r + kSumRows); k++) {
          const vec<T> d = load(x + k * columns + c, lanes) - mu;
          const vec<T> v = through(relu, load(dy + k * columns + c, lanes), d, scale, shift);
          some = some + v;
          some_h = fma(v, d, some_h);
        }
        g = g + some;
        gh = gh + some_h;
      }
      store(sums + c, g, lanes);
      store(sums + columns + c, gh, lanes);
    });
  });
}

// f(constant) with constant.value the flag: for loops in which asking for it would take time.
template <bool Flag>
struct Constant {
  static constexpr bool value = Flag;
};
template <class F>
CHAINRULE_INLINE void by_constant(bool flag, F&& f) {
  if (flag) return f(Constant<true>());
  f(Constant<false>());
}

template <bool relu, class T>
CHAINRULE_INLINE void plane_sums(T* sum_g, T* sum_gh, const T* dy, const T* x, T mean, T scale, T shift, i64 batch,
                                 i64 channels, i64 space) {
  T g = 0, gh = 0;
  for (i64 b = 0; b < batch; b++) {
    const T *const v = dy + b * channels * space, *const u = x + b * channels * space;
    g += reduce_long_row<Add<T>, T>(
        space, [=](i64 i, auto lanes) __attribute__((always_inline)) {
          return through(relu, load(v + i, lanes), load(u + i, lanes) - mean, vec<T>(scale), vec<T>(shift));
        });
    gh += reduce_long_row<Add<T>, T>(
        space, [=](i64 i, auto lanes) __attribute__((always_inline)) {
          const vec<T> d = load(u + i, lanes) - mean;
          return through(relu, load(v + i, lanes), d, vec<T>(scale), vec<T>(shift)) * d;
        });
  }
  *sum_g = g;
  *sum_gh = gh;
}

template <bool relu, class T>
CHAINRULE_INLINE void plane_gradient(T* dx, const T* dy, const T* x, T mean, T rstd, T weight, T bias, T g, T gh,
                                     i64 space, bool training) {
  const vec<T> scale = rstd * weight, shift = bias;
  each_vec<T>(
      0, space, [=](i64 i, auto lanes) __attribute__((always_inline)) {
        const vec<T> d = load(x + i, lanes) - mean;
        vec<T> v = through(relu, load(dy + i, lanes), d, scale, shift);
        if (training) v = v - g - d * rstd * gh;
        store(dx + i, v * scale, lanes);
      });
}

}  // namespace

template <class T>
i64 batch_norm_backward_partials(i64 batch, i64 channels, i64 space) {
  return (space > 1 ? 2 : 2 * ceil_div(batch, kTaskRows) + 3) * channels;
}

template <class T>
void batch_norm_backward(Team& team, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* mean, const T* rstd,
                         const T* weight, const T* bias, i64 batch, i64 channels, i64 space, bool training,
                         Activation activation, T* partials) {
  const bool matrix = space == 1, relu = activation == Activation::relu;
  const i64 parts = matrix ? ceil_div(batch, kTaskRows) : 0;
  T *const sum_g = partials, *const sum_gh = partials + channels;  // of planes: Σ dz and Σ dz h
  T* const scales = partials + 2 * parts * channels;  // of a matrix: dx = scale (dz - shift - (x - mean) slope)
  T *const shifts = scales + channels, *const slopes = shifts + channels;
  const T m = T(batch * space);
  if (matrix) {
    matrix_sums(team, relu, partials, dy, x, mean, rstd, weight, bias, batch, channels);
    team.barrier();
  }
  if (matrix)
    parallel_for(team, ceil_div(channels, i64(vec<T>::size)), per_task(2 * parts * vec<T>::size),
                 [&](i64 begin, i64 end) {
                   each_vec<T>(begin * vec<T>::size, at_most(channels, end * vec<T>::size), [&](i64 c, auto lanes) {
                     vec<T> g(T(0)), gh(T(0));
                     for (i64 part = 0; part < parts; part++) {
                       g = g + load(partials + part * 2 * channels + c, lanes);
                       gh = gh + load(partials + (part * 2 + 1) * channels + c, lanes);
                     }
                     const vec<T> r = load(rstd + c, lanes);
                     gh = gh * r;
                     if (dweight) store(dweight + c, gh, lanes);
                     if (dbias) store(dbias + c, g, lanes);
                     store(scales + c, r * or_value(weight, c, lanes, T(1)), lanes);
                     store(shifts + c, g / m, lanes);
                     store(slopes + c, r * (gh / m), lanes);
                   });
                 });
  else
    parallel_for(team, channels, per_task(batch * space), [&](i64 begin, i64 end) {
      for (i64 c = begin; c < end; c++) {
        const T scale = weight ? rstd[c] * weight[c] : rstd[c], shift = bias ? bias[c] : T(0);
        by_constant(relu, [&](auto constant) {
          plane_sums<constant.value>(sum_g + c, sum_gh + c, dy + c * space, x + c * space, mean[c], scale, shift, batch,
                                     channels, space);
        });
        sum_gh[c] *= rstd[c];
        if (dweight) dweight[c] = sum_gh[c];
        if (dbias) dbias[c] = sum_g[c];
      }
    });
  team.barrier();
  if (!dx) return;
  if (!matrix)
    each_plane(team, batch, channels, space, [=](i64 at, i64 c) {
      by_constant(relu, [=](auto constant) {
        plane_gradient<constant.value>(dx + at, dy + at, x + at, mean[c], rstd[c], weight ? weight[c] : T(1),
                                       bias ? bias[c] : T(0), sum_g[c] / m, sum_gh[c] / m, space, training);
      });
    });
  else
    each_block(team, batch, channels, [=](i64 at, i64 rows) {
      each_vec<T>(
          0, channels, [=](i64 j, auto lanes) __attribute__((always_inline)) {
            const vec<T> mu = load(mean + j, lanes), scale = load(scales + j, lanes), g = load(shifts + j, lanes),
                         slope = load(slopes + j, lanes), shift = or_value(bias, j, lanes, T(0));
            for (i64 i = at + j; i < at + rows * channels; i += channels) {
              const vec<T> d = load(x + i, lanes) - mu;
              vec<T> v = through(relu, load(dy + i, lanes), d, scale, shift);
              if (training) v = v - g - d * slope;
              store(dx + i, v * scale, lanes);
            }
          });
    });
}

INSTANTIATE(batch_norm_partials)
INSTANTIATE(batch_norm)
INSTANTIATE(batch_norm_backward_partials)
INSTANTIATE(batch_norm_backward)

}  // namespace chainrule::CHAINRULE_ISA
