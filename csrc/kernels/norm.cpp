// Normalisations. mean and rstd are saved; h = (x - mean) rstd; weight and bias may be null (1 and 0).
//   layer_norm   x (rows, n): mean and rstd = 1 / sqrt(var + eps) of each row, var = Σ (x - mean)² / n
//     y = h weight + bias
//     dx = rstd (g - Σ g / n - h Σ g h / n), g = dy weight;   dweight = Σ_rows dy h;   dbias = Σ_rows dy
// dx, dweight, dbias may be null where they aren't wanted.
#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kTaskElements = 8192;
constexpr i64 kRowsPerPartial = 64;  // of layer_norm's dweight and dbias
constexpr i64 kRowsAtOnce = 4;       // of layer_norm: while one row's lanes are added, the next one's loads begin

template <class T>
CHAINRULE_INLINE vec<T> reciprocal_root(vec<T> variance, T eps) {
  return vec<T>(T(1)) / sqrt(variance + eps);
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

// Whether rows are to be sent for: many short ones, as a step's activations are, which lie in memory by the time they
// are read (768 x 128: 1.3 times as fast so, 1.15 times as slow where they are near). Long rows the hardware follows by
// itself, and better.
template <class T>
CHAINRULE_INLINE bool sends(i64 rows, i64 n) {
  constexpr i64 kLongest = 1024 / sizeof(T), kNear = (i64(1) << 18) / sizeof(T);
  return n <= kLongest && rows * n > kNear;
}

// Sends for as many rows as [first, last) further on.
template <class T>
CHAINRULE_INLINE void send_for_rows(const T* x, i64 first, i64 last, i64 n) {
  constexpr i64 kAheadRows = 16, kLine = 64 / sizeof(T);
  for (i64 i = (first + kAheadRows) * n; i < (last + kAheadRows) * n; i += kLine) send_for(x + i);
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
  const bool far = sends<T>(rows, n);
  parallel_for(
      team, rows, rows_per_task(n), [=](i64 begin, i64 end) __attribute__((flatten)) {
        for (i64 first = begin; first < end; first += kRowsAtOnce) {
          const i64 last = at_most(end, first + kRowsAtOnce);
          if (far) send_for_rows(x, first, last, n), send_for_rows(y, first, last, n);
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
  const bool sums = dweight || dbias, far = sends<T>(rows, n);
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
            if (far) send_for_rows(x, r, last, n), send_for_rows(dy, r, last, n);
            if (far && dx) send_for_rows(dx, r, last, n);
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

INSTANTIATE(layer_norm)
INSTANTIATE(layer_norm_backward_partials)
INSTANTIATE(layer_norm_backward)

}  // namespace chainrule::CHAINRULE_ISA
