// Batch norm, forward: batch_norm.h.
#include "batch_norm.h"

#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kBlockRows = 128;  // of a matrix, whose moments are taken in two passes, the second from the L1

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

INSTANTIATE(batch_norm_partials)
INSTANTIATE(batch_norm)

}  // namespace chainrule::CHAINRULE_ISA
