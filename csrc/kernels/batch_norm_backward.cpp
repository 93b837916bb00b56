// Batch norm's gradients: batch_norm.h.
#include "batch_norm.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kSumRows = 16;  // of a matrix, whose gradients are summed before they join the sums

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

INSTANTIATE(batch_norm_backward_partials)
INSTANTIATE(batch_norm_backward)

}  // namespace chainrule::CHAINRULE_ISA
