// Normalisations. mean and rstd are saved; h = (x - mean) rstd; weight and bias may be null (1 and 0).
//   layer_norm   x (rows, n): mean and rstd = 1 / sqrt(var + eps) of each row, var = Σ (x - mean)² / n
//     y = h weight + bias
//     dx = rstd (g - Σ g / n - h Σ g h / n), g = dy weight;   dweight = Σ_rows dy h;   dbias = Σ_rows dy
//   batch_norm   x (batch, channels, space): the same for each channel over the m = batch * space others; training also
//     moves the running statistics: r = (1 - momentum) r + momentum (mean; var m / (m - 1)). Else they are used as they
//     are. dx = weight rstd (dy - Σ dy / m - h Σ dy h / m), in evaluation weight rstd dy;   dweight = Σ dy h;   dbias =
//     Σ dy
// dx, dweight, dbias may be null where they aren't wanted.
#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kTaskElements = 8192;
constexpr i64 kRowsPerPartial = 64;  // of layer_norm's dweight and dbias
constexpr i64 kRowsAtOnce = 4;       // of layer_norm: while one row's lanes are added, the next one's loads begin
constexpr i64 kRowBlock = 128;       // of batch_norm over (batch, channels): rows whose moments are taken at once

template <class T>
CHAINRULE_INLINE vec<T> reciprocal_root(vec<T> variance, T eps) {
  return vec<T>(T(1)) / sqrt(variance + eps);
}

template <class T, class L>
CHAINRULE_INLINE vec<T> or_value(const T* p, i64 i, L lanes, T value) {
  return p ? load(p + i, lanes) : vec<T>(value);
}

CHAINRULE_INLINE i64 rows_per_task(i64 n) { return at_least<i64>(1, kTaskElements / at_least<i64>(1, n)); }

template <class T>
struct TwoSums {
  T first, second;
};

// Σ a and Σ b of two values per element, over [0, n) in chunks of kRowChunk: first(i, lanes), second(i, lanes).
template <class T, class A, class B>
CHAINRULE_INLINE TwoSums<T> sum_both(i64 n, A&& a, B&& b) {
  return {reduce_long_row<Add<T>, T>(n, a), reduce_long_row<Add<T>, T>(n, b)};
}

// mean and squares of the rows [first, last).
template <class T>
CHAINRULE_INLINE void rows_moments(T* mean, T* squares, const T* x, i64 first, i64 last, i64 n) {
  const bool short_rows = n <= kRowChunk;
  for (i64 r = first; r < last && short_rows; r++) mean[r] = rough_mean(x + r * n, n);
  for (i64 r = first; r < last; r++) {
    const Moments<T> m = short_rows ? row_moments(x + r * n, n, mean[r]) : long_row_moments(x + r * n, n);
    mean[r] = m.mean;
    squares[r] = m.squares;
  }
}

// The means of g and of g h of each of the rows [first, last).
template <class T>
CHAINRULE_INLINE void means_of_rows(T* mean_g, T* mean_gh, const T* dy, const T* x, const T* mean, const T* rstd,
                                    const T* weight, i64 first, i64 last, i64 n) {
  for (i64 r = first; r < last; r++) {
    const T *const d = dy + r * n, *const v = x + r * n, m = mean[r], scale = rstd[r];
    const auto g = [=](i64 j, auto lanes) { return load(d + j, lanes) * or_value(weight, j, lanes, T(1)); };
    const TwoSums<T> s =
        sum_both<T>(n, g, [=](i64 j, auto lanes) { return g(j, lanes) * ((load(v + j, lanes) - m) * scale); });
    mean_g[r - first] = s.first / T(n);
    mean_gh[r - first] = s.second / T(n);
  }
}

// dx (or null) of the rows [first, last), at most kRowsAtOnce, and their part of dweight and dbias (both or none),
// which starts from zero where it is `fresh`.
template <class T>
CHAINRULE_INLINE void gradients_of_rows(T* dx, T* dweight, T* dbias, bool fresh, const T* dy, const T* x, const T* mean,
                                        const T* rstd, const T* weight, i64 first, i64 last, i64 n) {
  T mean_g[kRowsAtOnce], mean_gh[kRowsAtOnce];
  if (dx) means_of_rows(mean_g, mean_gh, dy, x, mean, rstd, weight, first, last, n);
  each_vec<T>(0, n, [&](i64 j, auto lanes) {
    const vec<T> w = or_value(weight, j, lanes, T(1));
    vec<T> dw = T(0), db = T(0);
    if (dweight && !fresh) dw = load(dweight + j, lanes), db = load(dbias + j, lanes);
    for (i64 r = first; r < last; r++) {
      const vec<T> g = load(dy + r * n + j, lanes), h = (load(x + r * n + j, lanes) - mean[r]) * rstd[r];
      dw = fma(g, h, dw);
      db = db + g;
      if (dx) store(dx + r * n + j, (g * w - mean_g[r - first] - h * mean_gh[r - first]) * rstd[r], lanes);
    }
    if (dweight) store(dweight + j, dw, lanes), store(dbias + j, db, lanes);
  });
}

}  // namespace

template <class T>
void layer_norm(Team& team, T* y, T* mean, T* rstd, const T* x, const T* weight, const T* bias, i64 rows, i64 n,
                T eps) {
  parallel_for(
      team, rows, rows_per_task(n), [=](i64 begin, i64 end) __attribute__((flatten)) {
        for (i64 first = begin; first < end; first += kRowsAtOnce) {
          const i64 last = at_most(end, first + kRowsAtOnce);
          rows_moments(mean, rstd, x, first, last, n);
          each_vec<T>(first, last, [=](i64 r, auto lanes) {
            store(rstd + r, reciprocal_root(load(rstd + r, lanes) / T(n), eps), lanes);
          });

          each_vec<T>(0, n, [=](i64 j, auto lanes) {
            const vec<T> w = or_value(weight, j, lanes, T(1)), b = or_value(bias, j, lanes, T(0));
            for (i64 r = first; r < last; r++)
              store(y + r * n + j, fma((load(x + r * n + j, lanes) - mean[r]) * rstd[r], w, b), lanes);
          });
        }
      });
}

template <class T>
i64 layer_norm_backward_partials(i64 rows, i64 n) {
  return 2 * n * ceil_div(rows, kRowsPerPartial);
}

template <class T>
void layer_norm_backward(Team& team, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* mean, const T* rstd,
                         const T* weight, i64 rows, i64 n, T* partials) {
  const i64 parts = ceil_div(rows, kRowsPerPartial);
  const bool sums = dweight || dbias;
  parallel_for(
      team, parts, at_least<i64>(1, kTaskElements / at_least<i64>(1, n * kRowsPerPartial)),
      [=](i64 begin, i64 end) __attribute__((flatten)) {
        for (i64 part = begin; part < end; part++) {
          T* const dw = partials + part * 2 * n;
          T* const db = dw + n;
          const i64 first = part * kRowsPerPartial;
          const i64 stop = at_most(rows, first + kRowsPerPartial);
          for (i64 r = first; r < stop; r += kRowsAtOnce) {
            const i64 last = at_most(stop, r + kRowsAtOnce);
            gradients_of_rows(dx, sums ? dw : nullptr, db, r == first, dy, x, mean, rstd, weight, r, last, n);
          }
        }
      });
  if (!sums) return;
  team.barrier();
  constexpr i64 W = vec<T>::size;
  parallel_for(team, ceil_div(n, W), at_least<i64>(1, kTaskElements / (2 * W * at_least<i64>(1, parts))),
               [&](i64 begin, i64 end) {
                 each_vec<T>(begin * W, at_most(n, end * W), [&](i64 j, auto lanes) {
                   vec<T> w = T(0), b = T(0);
                   for (i64 part = 0; part < parts; part++) {
                     w = w + load(partials + part * 2 * n + j, lanes);
                     b = b + load(partials + part * 2 * n + n + j, lanes);
                   }
                   if (dweight) store(dweight + j, w, lanes);
                   if (dbias) store(dbias + j, b, lanes);
                 });
               });
}

namespace {

// What batch_norm's passes share: channels are cut into strips that one thread sees whole: a channel where space > 1,
// else a vec of neighbours.
struct Channels {
  i64 batch, channels, space, width;
  CHAINRULE_INLINE i64 count() const { return ceil_div(channels, width); }
  CHAINRULE_INLINE i64 grain() const {
    return at_least<i64>(1, kTaskElements / at_least<i64>(1, batch * space * width));
  }
};

template <class T>
CHAINRULE_INLINE void finish_channels(T* mean, T* rstd, T* running_mean, T* running_var, const T* squares, i64 channels,
                                      i64 m, T momentum, T eps) {
  each_vec<T>(0, channels, [&](i64 c, auto lanes) {
    const vec<T> sq = load(squares + c, lanes);
    if (running_mean) {
      const vec<T> old = load(running_mean + c, lanes);
      store(running_mean + c, fma(load(mean + c, lanes), vec<T>(momentum), old * (T(1) - momentum)), lanes);
    }
    if (running_var) {
      const vec<T> old = load(running_var + c, lanes);
      store(running_var + c, fma(sq / T(m - 1), vec<T>(momentum), old * (T(1) - momentum)), lanes);
    }
    store(rstd + c, reciprocal_root(sq / T(m), eps), lanes);
  });
}

// mean of each channel of a strip, and squares of its deviations.
template <class T>
CHAINRULE_INLINE void channel_moments(T* mean, T* squares, const T* x, const Channels& shape, i64 first, i64 count) {
  if (shape.space > 1) {
    const auto row = [&](i64 b) {
      return long_row_moments(x + (b * shape.channels + first) * shape.space, shape.space);
    };
    Moments<T> all = row(0);
    for (i64 b = 1; b < shape.batch; b++) all = join(all, T(b * shape.space), row(b), T(shape.space));
    *mean = all.mean;
    *squares = all.squares;
    return;
  }
  column_moments(mean, squares, x + first, at_most(kRowBlock, shape.batch), shape.channels, count);
  for (i64 b = kRowBlock; b < shape.batch; b += kRowBlock) {
    const i64 rows = at_most(kRowBlock, shape.batch - b);
    T m[vec<T>::size], q[vec<T>::size];
    column_moments(m, q, x + b * shape.channels + first, rows, shape.channels, count);
    for (i64 c = 0; c < count; c++) {
      const Moments<T> both = join(Moments<T>{mean[c], squares[c]}, T(b), Moments<T>{m[c], q[c]}, T(rows));
      mean[c] = both.mean;
      squares[c] = both.squares;
    }
  }
}

// body(offset of x, first channel, elements, same) for each row of a strip's channels: `same` where all its elements
// are of one channel.
template <class T, class F>
CHAINRULE_INLINE void normalise_rows(Team& team, i64 batch, i64 channels, i64 space, F&& body) {
  const i64 rows = space > 1 ? batch * channels : batch, n = space > 1 ? space : channels;
  parallel_for(team, rows, rows_per_task(n), [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; r++) body(r * n, space > 1 ? r % channels : 0, n);
  });
}

}  // namespace

template <class T>
void batch_norm(Team& team, T* y, T* mean, T* rstd, T* running_mean, T* running_var, const T* x, const T* weight,
                const T* bias, i64 batch, i64 channels, i64 space, bool training, T momentum, T eps) {
  const Channels shape = {batch, channels, space, space > 1 ? 1 : i64(vec<T>::size)};
  parallel_for(team, shape.count(), shape.grain(), [&](i64 begin, i64 end) {
    for (i64 s = begin; s < end; s++) {
      const i64 c = s * shape.width, count = at_most(shape.width, channels - c);
      T squares[vec<T>::size];
      if (training) {
        channel_moments(mean + c, squares, x, shape, c, count);
        finish_channels(mean + c, rstd + c, running_mean ? running_mean + c : nullptr,
                        running_var ? running_var + c : nullptr, squares, count, batch * space, momentum, eps);
      } else {
        each_vec<T>(c, c + count, [&](i64 i, auto lanes) {
          store(mean + i, load(running_mean + i, lanes), lanes);
          store(rstd + i, reciprocal_root(load(running_var + i, lanes), eps), lanes);
        });
      }
    }
  });
  team.barrier();
  normalise_rows<T>(team, batch, channels, space, [&](i64 at, i64 c, i64 n) {
    if (space > 1) {
      const T m = mean[c], scale = weight ? rstd[c] * weight[c] : rstd[c], shift = bias ? bias[c] : T(0);
      each_vec<T>(at, at + n, [&](i64 i, auto lanes) {
        store(y + i, fma(load(x + i, lanes) - m, vec<T>(scale), vec<T>(shift)), lanes);
      });
      return;
    }
    each_vec<T>(0, n, [&](i64 j, auto lanes) {
      const vec<T> scale = load(rstd + j, lanes) * or_value(weight, j, lanes, T(1));
      store(y + at + j, fma(load(x + at + j, lanes) - load(mean + j, lanes), scale, or_value(bias, j, lanes, T(0))),
            lanes);
    });
  });
}

template <class T>
void batch_norm_backward(Team& team, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* mean, const T* rstd,
                         const T* weight, i64 batch, i64 channels, i64 space, bool training, T* sums) {
  const Channels shape = {batch, channels, space, space > 1 ? 1 : i64(vec<T>::size)};
  T* const sum_g = sums;              // Σ dy
  T* const sum_gh = sums + channels;  // Σ dy h
  parallel_for(team, shape.count(), shape.grain(), [&](i64 begin, i64 end) {
    for (i64 s = begin; s < end; s++) {
      const i64 c = s * shape.width;
      if (space > 1) {
        T g = 0, gh = 0;
        for (i64 b = 0; b < batch; b++) {
          const i64 at = (b * channels + c) * space;
          const TwoSums<T> part = sum_both<T>(
              space, [=](i64 i, auto lanes) { return load(dy + at + i, lanes); },
              [=](i64 i, auto lanes) { return load(dy + at + i, lanes) * (load(x + at + i, lanes) - mean[c]); });
          g += part.first;
          gh += part.second;
        }
        sum_g[c] = g;
        sum_gh[c] = gh * rstd[c];
      } else {
        each_vec<T>(c, at_most(channels, c + shape.width), [&](i64 j, auto lanes) {
          vec<T> g = T(0), gh = T(0);
          for (i64 b = 0; b < batch; b += 8) {
            vec<T> g8 = T(0), gh8 = T(0);
            for (i64 k = b; k < at_most(batch, b + 8); k++) {
              const vec<T> v = load(dy + k * channels + j, lanes);
              g8 = g8 + v;
              gh8 = fma(v, load(x + k * channels + j, lanes) - load(mean + j, lanes), gh8);
            }
            g = g + g8;
            gh = gh + gh8;
          }
          store(sum_g + j, g, lanes);
          store(sum_gh + j, gh * load(rstd + j, lanes), lanes);
        });
      }
    }
  });
  team.barrier();
  parallel_for(team, 1, 1, [&](i64, i64) {
    each_vec<T>(0, channels, [&](i64 c, auto lanes) {
      if (dweight) store(dweight + c, load(sum_gh + c, lanes), lanes);
      if (dbias) store(dbias + c, load(sum_g + c, lanes), lanes);
    });
  });
  if (!dx) return;
  const T m = T(batch * space);
  normalise_rows<T>(team, batch, channels, space, [&](i64 at, i64 c, i64 n) {
    const auto put = [=](i64 i, auto lanes, vec<T> mu, vec<T> r, vec<T> w, vec<T> g, vec<T> gh) {
      vec<T> v = load(dy + i, lanes);
      if (training) v = v - g / m - (load(x + i, lanes) - mu) * r * (gh / m);
      store(dx + i, v * (r * w), lanes);
    };
    if (space > 1)
      each_vec<T>(at, at + n, [&](i64 i, auto lanes) {
        put(i, lanes, mean[c], rstd[c], weight ? weight[c] : T(1), sum_g[c], sum_gh[c]);
      });
    else
      each_vec<T>(0, n, [&](i64 j, auto lanes) {
        put(at + j, lanes, load(mean + j, lanes), load(rstd + j, lanes), or_value(weight, j, lanes, T(1)),
            load(sum_g + j, lanes), load(sum_gh + j, lanes));
      });
  });
}

INSTANTIATE(layer_norm)
INSTANTIATE(layer_norm_backward_partials)
INSTANTIATE(layer_norm_backward)
INSTANTIATE(batch_norm)
INSTANTIATE(batch_norm_backward)

}  // namespace chainrule::CHAINRULE_ISA
