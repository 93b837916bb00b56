// The loss of the class scores x (outer, n classes, inner) at each of the outer * inner positions, with
//   stats = max x and log Σ exp(x - max x) of each position, (2, outer, inner): all that is saved
//   d_c = (max x - x_c) + log Σ exp(x - max x), the negative log-probability of class c; w_c = weight, 1 without
//   labels t:        loss = (1 - s) w_t d_t + s/n Σ_c w_c d_c; 0 where t = ignore_index; mean divides by total = Σ w_t
//   probabilities p: loss = Σ_c q_c d_c, q_c = w_c ((1 - s) p_c + s/n);                  mean divides by total =
//   positions
// Backward, with g = dloss / total and P_c = exp(-d_c):
//   labels:          dx_c = g (P_c ((1 - s) w_t + s/n Σ w) - s/n w_c - (1 - s) w_t [c = t])
//   probabilities:   dx_c = g (P_c Σ q - q_c)
// Bindings have checked the labels.
#include "kernels.h"
#include "rows.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kTaskElements = 4096;

// One position: its scores are x[c * stride], c in [0, n). Rows (stride 1) use vecs over classes.
template <class T, class F>
CHAINRULE_INLINE T sum_classes(i64 n, i64 stride, F&& value) {
  if (stride == 1) return reduce_long_row<Add<T>, T>(n, value);
  T total = 0;
  for (i64 c = 0; c < n; c++) total += lane(value(c, i64(1)), 0);
  return total;
}

template <class T>
CHAINRULE_INLINE vec<T> weight_at(const T* weight, i64 c, Whole) {
  return weight ? load(weight + c) : vec<T>(T(1));
}
template <class T>
CHAINRULE_INLINE vec<T> weight_at(const T* weight, i64 c, i64 lanes) {
  return weight ? load(weight + c, lanes) : vec<T>(T(1));
}

// Maximum and Σ exp(x - maximum) of a vec of columns, or of one row.
template <class T>
void row_statistics(T* maximum, T* total, const T* x, i64 n) {
  const T m = reduce_long_row<Max<T>, T>(n, [=](i64 i, auto lanes) { return load(x + i, lanes); });
  *maximum = m;
  *total = reduce_long_row<Add<T>, T>(n, [=](i64 i, auto lanes) { return exp(load(x + i, lanes) - m); });
}
template <class T, class L>
CHAINRULE_INLINE void column_statistics(T* maximum, T* total, const T* x, i64 n, i64 stride, L lanes) {
  vec<T> m = Max<T>::identity, s = T(0);
  for (i64 c = 0; c < n; c++) m = Max<T>::combine(m, load(x + c * stride, lanes));
  for (i64 c = 0; c < n; c += 8) {
    vec<T> eight = T(0);
    for (i64 k = c; k < at_most(c + 8, n); k++) eight = eight + exp(load(x + k * stride, lanes) - m);
    s = s + eight;
  }
  store(maximum, m, lanes);
  store(total, s, lanes);
}

// Strips of positions: a row each where inner is 1, else up to a vec of columns.
struct Strips {
  i64 outer, n, inner, width, per_outer;
  CHAINRULE_INLINE Strips(i64 outer, i64 n, i64 inner, i64 lanes)
      : outer(outer), n(n), inner(inner), width(inner == 1 ? 1 : lanes), per_outer(ceil_div(inner, width)) {}
  CHAINRULE_INLINE i64 count() const { return outer * per_outer; }
  CHAINRULE_INLINE i64 grain() const { return at_least<i64>(1, kTaskElements / at_least<i64>(1, n * width)); }
  CHAINRULE_INLINE i64 column(i64 strip) const { return strip % per_outer * width; }
  CHAINRULE_INLINE i64 position(i64 strip) const { return strip / per_outer * inner + column(strip); }
  CHAINRULE_INLINE i64 columns(i64 strip) const { return at_most(width, inner - column(strip)); }
  CHAINRULE_INLINE i64 x(i64 position) const { return position / inner * n * inner + position % inner; }
};

template <class T>
struct Target {
  const i64* labels;
  const T* probabilities;
  const T* weight;
  i64 ignore_index, n, inner;
  T smoothing;
  CHAINRULE_INLINE bool ignored(i64 position) const { return labels && labels[position] == ignore_index; }
  CHAINRULE_INLINE T label_weight(i64 position) const { return weight ? weight[labels[position]] : T(1); }
  // q at classes [c, c + lanes) of a position whose first class is at x.
  template <class L>
  CHAINRULE_INLINE vec<T> q(i64 x, i64 c, L lanes) const {
    const vec<T> p = load(probabilities + x + c * inner, lanes);
    return weight_at(weight, c, lanes) * (p * (T(1) - smoothing) + smoothing / T(n));
  }
};

template <class T>
CHAINRULE_INLINE T loss_at(const Target<T>& t, const T* x, i64 position, i64 at, T maximum, T logarithm) {
  const auto d = [=](i64 c, auto lanes) { return (maximum - load(x + at + c * t.inner, lanes)) + logarithm; };
  if (t.probabilities)
    return sum_classes<T>(t.n, t.inner, [=](i64 c, auto lanes) { return t.q(at, c, lanes) * d(c, lanes); });
  const T hard = t.label_weight(position) * ((maximum - x[at + t.labels[position] * t.inner]) + logarithm);
  if (t.smoothing == T(0)) return hard;
  const T all =
      sum_classes<T>(t.n, t.inner, [=](i64 c, auto lanes) { return weight_at(t.weight, c, lanes) * d(c, lanes); });
  return (T(1) - t.smoothing) * hard + t.smoothing / T(t.n) * all;
}

template <class T>
CHAINRULE_INLINE void gradient_at(const Target<T>& t, T* dx, const T* x, i64 position, i64 at, T maximum, T logarithm,
                                  T g) {
  const bool ignored = t.ignored(position);
  const T hard = t.probabilities || ignored ? T(0) : (T(1) - t.smoothing) * t.label_weight(position);
  T share = hard;  // of P_c
  if (t.probabilities)
    share = sum_classes<T>(t.n, t.inner, [=](i64 c, auto lanes) { return t.q(at, c, lanes); });
  else if (t.smoothing != T(0))
    share +=
        t.smoothing / T(t.n) * sum_classes<T>(t.n, 1, [=](i64 c, auto lanes) { return weight_at(t.weight, c, lanes); });
  const auto put = [=](i64 c, auto lanes) {
    vec<T> v = exp((load(x + at + c * t.inner, lanes) - maximum) - logarithm) * share;
    if (t.probabilities)
      v = v - t.q(at, c, lanes);
    else if (t.smoothing != T(0))
      v = v - weight_at(t.weight, c, lanes) * (t.smoothing / T(t.n));
    store(dx + at + c * t.inner, ignored ? vec<T>(T(0)) : v * g, lanes);
  };
  if (t.inner == 1)
    each_vec<T>(0, t.n, put);
  else
    for (i64 c = 0; c < t.n; c++) put(c, i64(1));
  if (!t.probabilities && !ignored) dx[at + t.labels[position] * t.inner] -= g * hard;
}

}  // namespace

template <class T>
void cross_entropy(Team& team, T* loss, T* stats, T* total, const T* x, const i64* labels, const T* probabilities,
                   const T* weight, i64 outer, i64 n, i64 inner, i64 ignore_index, T smoothing, Reduction reduction,
                   T* losses, T* weights) {
  const Strips strips(outer, n, inner, vec<T>::size);
  const Target<T> t = {labels, probabilities, weight, ignore_index, n, inner, smoothing};
  const i64 positions = outer * inner;
  T* const maxima = stats;
  T* const logarithms = stats + positions;
  T* const each = reduction == Reduction::none ? loss : losses;
  parallel_for(team, strips.count(), strips.grain(), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 p = strips.position(i), columns = strips.columns(i);
      const T* const from = x + strips.x(p);
      if (inner == 1)
        row_statistics(maxima + p, logarithms + p, from, n);
      else
        each_vec<T>(0, columns,
                    [=](i64, auto lanes) { column_statistics(maxima + p, logarithms + p, from, n, inner, lanes); });
    }
    if (begin == end) return;
    const i64 from = strips.position(begin), to = strips.position(end - 1) + strips.columns(end - 1);
    each_vec<T>(from, to, [=](i64 p, auto lanes) { store(logarithms + p, log(load(logarithms + p, lanes)), lanes); });
    for (i64 p = from; p < to; p++) {
      const bool counts = !t.ignored(p);
      each[p] = counts ? loss_at(t, x, p, strips.x(p), maxima[p], logarithms[p]) : T(0);
      if (reduction == Reduction::mean && labels) weights[p] = counts ? t.label_weight(p) : T(0);
    }
  });
  team.barrier();
  parallel_for(team, 1, 1, [&](i64, i64) {
    const auto sum_of = [=](const T* a) {
      return reduce_long_row<Add<T>, T>(positions, [=](i64 i, auto lanes) { return load(a + i, lanes); });
    };
    *total = reduction != Reduction::mean ? T(1) : labels ? sum_of(weights) : T(positions);
    if (reduction != Reduction::none) *loss = sum_of(each) / *total;
  });
}

template <class T>
void cross_entropy_backward(Team& team, T* dx, const T* dloss, const T* x, const T* stats, const T* total,
                            const i64* labels, const T* probabilities, const T* weight, i64 outer, i64 n, i64 inner,
                            i64 ignore_index, T smoothing, Reduction reduction) {
  const Strips strips(outer, n, inner, 1);
  const Target<T> t = {labels, probabilities, weight, ignore_index, n, inner, smoothing};
  const i64 positions = outer * inner;
  parallel_for(team, positions, strips.grain(), [&](i64 begin, i64 end) {
    for (i64 p = begin; p < end; p++)
      gradient_at(t, dx, x, p, strips.x(p), stats[p], stats[positions + p],
                  (reduction == Reduction::none ? dloss[p] : *dloss) / *total);
  });
}

INSTANTIATE(cross_entropy)
INSTANTIATE(cross_entropy_backward)

}  // namespace chainrule::CHAINRULE_ISA
