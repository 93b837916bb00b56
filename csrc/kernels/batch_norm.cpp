// Batch norm of x (batch, channels, space): each channel is normalised over the m = batch * space others. mean and rstd
// = 1 / sqrt(var + eps) are saved; h = (x - mean) rstd; weight and bias may be null (1 and 0).
//   y = h weight + bias
//   training: mean and var are the batch's, and the running ones move towards mean and v = var m / (m - 1):
//             running_mean = (1 - momentum) running_mean + momentum mean, running_var likewise with v
//             dx = weight rstd (dy - Σ dy / m - h Σ dy h / m)
//   else:     mean and var are the running ones
//             dx = weight rstd dy
//   dweight = Σ dy h;   dbias = Σ dy
// dx, dweight, dbias may be null where they aren't wanted. With space = 1, x is a matrix: of samples, or of the pixels
// of channels_last images.
#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kTaskElements = 8192;
// Of a matrix: rows whose moments are taken in two passes, the second from the L1; rows of a task, whose result is one
// of the partial ones; rows whose gradients are summed before they join the sums.
constexpr i64 kBlockRows = 128, kTaskRows = 1024, kSumRows = 16;
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

// body(first element, channel) for each plane, or body(first element, 0) for each row of a matrix.
template <class F>
CHAINRULE_INLINE void each_line(Team& team, i64 batch, i64 channels, i64 space, F&& body) {
  const i64 lines = space > 1 ? batch * channels : batch, n = space > 1 ? space : channels;
  parallel_for(team, lines, per_task(n), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) body(i * n, space > 1 ? i % channels : 0);
  });
}

}  // namespace

// Of a matrix: mean and squares of each part, and each channel's scale.
template <class T>
i64 batch_norm_partials(i64 batch, i64 channels, i64 space) {
  return space > 1 ? 0 : (2 * ceil_div(batch, kTaskRows) + 1) * channels;
}

template <class T>
void batch_norm(Team& team, T* y, T* mean, T* rstd, T* running_mean, T* running_var, const T* x, const T* weight,
                const T* bias, i64 batch, i64 channels, i64 space, bool training, T momentum, T eps, T* partials) {
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
  each_line(team, batch, channels, space, [&](i64 at, i64 c) {
    if (!matrix) {
      const T m = mean[c], scale = weight ? rstd[c] * weight[c] : rstd[c], shift = bias ? bias[c] : T(0);
      each_vec<T>(at, at + space, [&](i64 i, auto lanes) {
        store(y + i, fma(load(x + i, lanes) - m, vec<T>(scale), vec<T>(shift)), lanes);
      });
      return;
    }
    each_vec<T>(0, channels, [&](i64 j, auto lanes) {
      const vec<T> d = load(x + at + j, lanes) - load(mean + j, lanes);
      store(y + at + j, fma(d, load(scales + j, lanes), or_value(bias, j, lanes, T(0))), lanes);
    });
  });
}

namespace {

// Σ dy and Σ dy (x - mean) of each part of a matrix.
template <class T>
CHAINRULE_INLINE void matrix_sums(Team& team, T* partials, const T* dy, const T* x, const T* mean, i64 rows,
                                  i64 columns) {
  each_part<T>(team, rows, columns, [&](i64 part, i64 row, i64 end, i64 column, i64 columns_end) {
    T* const sums = partials + part * 2 * columns;
    each_vec<T>(column, columns_end, [&](i64 c, auto lanes) {
      const vec<T> zero(T(0)), mu = load(mean + c, lanes);
      vec<T> g = zero, gh = zero;
      for (i64 r = row; r < end; r += kSumRows) {
        vec<T> some = zero, some_h = zero;
        for (i64 k = r; k < at_most(end, r + kSumRows); k++) {
          const vec<T> v = load(dy + k * columns + c, lanes);
          some = some + v;
          some_h = fma(v, load(x + k * columns + c, lanes) - mu, some_h);
        }
        g = g + some;
        gh = gh + some_h;
      }
      store(sums + c, g, lanes);
      store(sums + columns + c, gh, lanes);
    });
  });
}

template <class T>
CHAINRULE_INLINE void plane_sums(T* sum_g, T* sum_gh, const T* dy, const T* x, T mean, i64 batch, i64 channels,
                                 i64 space) {
  T g = 0, gh = 0;
  for (i64 b = 0; b < batch; b++) {
    const T *const v = dy + b * channels * space, *const u = x + b * channels * space;
    g += reduce_long_row<Add<T>, T>(space, [=](i64 i, auto lanes) { return load(v + i, lanes); });
    gh += reduce_long_row<Add<T>, T>(
        space, [=](i64 i, auto lanes) { return load(v + i, lanes) * (load(u + i, lanes) - mean); });
  }
  *sum_g = g;
  *sum_gh = gh;
}

}  // namespace

template <class T>
i64 batch_norm_backward_partials(i64 batch, i64 channels, i64 space) {
  return (space > 1 ? 2 : 2 * ceil_div(batch, kTaskRows) + 3) * channels;
}

template <class T>
void batch_norm_backward(Team& team, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* mean, const T* rstd,
                         const T* weight, i64 batch, i64 channels, i64 space, bool training, T* partials) {
  const bool matrix = space == 1;
  const i64 parts = matrix ? ceil_div(batch, kTaskRows) : 0;
  T *const sum_g = partials, *const sum_gh = partials + channels;  // of planes: Σ dy and Σ dy h
  T* const scales = partials + 2 * parts * channels;  // of a matrix: dx = scale (dy - shift - (x - mean) slope)
  T *const shifts = scales + channels, *const slopes = shifts + channels;
  const T m = T(batch * space);
  if (matrix) {
    matrix_sums(team, partials, dy, x, mean, batch, channels);
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
        plane_sums(sum_g + c, sum_gh + c, dy + c * space, x + c * space, mean[c], batch, channels, space);
        sum_gh[c] *= rstd[c];
        if (dweight) dweight[c] = sum_gh[c];
        if (dbias) dbias[c] = sum_g[c];
      }
    });
  team.barrier();
  if (!dx) return;
  each_line(team, batch, channels, space, [&](i64 at, i64 c) {
    if (!matrix) {
      const vec<T> mu = mean[c], r = rstd[c], w = weight ? weight[c] : T(1), g = sum_g[c], gh = sum_gh[c];
      each_vec<T>(at, at + space, [&](i64 i, auto lanes) {
        vec<T> v = load(dy + i, lanes);
        if (training) v = v - g / m - (load(x + i, lanes) - mu) * r * (gh / m);
        store(dx + i, v * (r * w), lanes);
      });
      return;
    }
    each_vec<T>(0, channels, [&](i64 j, auto lanes) {
      vec<T> v = load(dy + at + j, lanes);
      if (training) {
        const vec<T> d = load(x + at + j, lanes) - load(mean + j, lanes);
        v = v - load(shifts + j, lanes) - d * load(slopes + j, lanes);
      }
      store(dx + at + j, v * load(scales + j, lanes), lanes);
    });
  });
}

INSTANTIATE(batch_norm_partials)
INSTANTIATE(batch_norm)
INSTANTIATE(batch_norm_backward_partials)
INSTANTIATE(batch_norm_backward)

}  // namespace chainrule::CHAINRULE_ISA
