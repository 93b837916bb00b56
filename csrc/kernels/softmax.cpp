// Along the n elements at stride inner of x (outer, n, inner); y is saved for the backwards.
//   softmax       y = exp(x - max x) / Σ exp(x - max x)      dx = y (dy - Σ dy y)
//   log_softmax   y = (x - max x) - log Σ exp(x - max x)     dx = dy - exp(y) Σ dy
// A row (inner = 1) is summed as reduce_long_row() says, a column (inner > 1, a vec of them side by side) from first to
// last in eights.
#include "kernels.h"
#include "rows.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kTaskElements = 4096;  // a few us of exp

// row(offset) for every row, where inner is 1; else column(offset, lanes) for every vec of columns.
template <class T, class R, class C>
CHAINRULE_INLINE void each_along(Team& team, i64 outer, i64 n, i64 inner, R&& row, C&& column) {
  constexpr i64 W = vec<T>::size;
  if (inner == 1) {
    parallel_for(team, outer, at_least<i64>(1, kTaskElements / at_least<i64>(1, n)), [&](i64 begin, i64 end) {
      for (i64 i = begin; i < end; i++) row(i * n);
    });
    return;
  }
  const i64 strips = ceil_div(inner, W);
  parallel_for(team, outer * strips, at_least<i64>(1, kTaskElements / (W * at_least<i64>(1, n))),
               [&](i64 begin, i64 end) {
                 for (i64 i = begin; i < end; i++) {
                   const i64 at = i % strips * W;
                   const i64 offset = i / strips * n * inner + at;
                   if (at + W <= inner)
                     column(offset, Whole());
                   else
                     column(offset, inner - at);
                 }
               });
}

// Σ value(r), r in [0, n), in eights.
template <class T, class F>
CHAINRULE_INLINE vec<T> sum_column(i64 n, F&& value) {
  vec<T> total = T(0);
  for (i64 r = 0; r < n; r += 8) {
    vec<T> eight = T(0);
    for (i64 k = r; k < at_most(r + 8, n); k++) eight = eight + value(k);
    total = total + eight;
  }
  return total;
}

template <class T, class L>
CHAINRULE_INLINE vec<T> max_column(const T* x, i64 n, i64 stride, L lanes) {
  vec<T> m = Max<T>::identity;
  for (i64 r = 0; r < n; r++) m = Max<T>::combine(m, load(x + r * stride, lanes));
  return m;
}

template <class T>
CHAINRULE_INLINE T max_row(const T* x, i64 n) {
  return reduce_long_row<Max<T>, T>(n, [=](i64 i, auto lanes) { return load(x + i, lanes); });
}

}  // namespace

template <class T>
void softmax(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner) {
  each_along<T>(
      team, outer, n, inner,
      [=](i64 at) {
        const T m = max_row(x + at, n);
        const T total = reduce_long_row<Add<T>, T>(n, [=](i64 i, auto lanes) {
          const vec<T> e = exp(load(x + at + i, lanes) - m);
          store(y + at + i, e, lanes);
          return e;
        });
        each_vec<T>(0, n, [=](i64 i, auto lanes) { store(y + at + i, load(y + at + i, lanes) / total, lanes); });
      },
      [=](i64 at, auto lanes) {
        const vec<T> m = max_column(x + at, n, inner, lanes);
        const vec<T> total = sum_column<T>(n, [=](i64 r) {
          const vec<T> e = exp(load(x + at + r * inner, lanes) - m);
          store(y + at + r * inner, e, lanes);
          return e;
        });
        for (i64 r = 0; r < n; r++) store(y + at + r * inner, load(y + at + r * inner, lanes) / total, lanes);
      });
}

template <class T>
void softmax_backward(Team& team, T* dx, const T* dy, const T* y, i64 outer, i64 n, i64 inner) {
  each_along<T>(
      team, outer, n, inner,
      [=](i64 at) {
        const T dot = reduce_long_row<Add<T>, T>(
            n, [=](i64 i, auto lanes) { return load(dy + at + i, lanes) * load(y + at + i, lanes); });
        each_vec<T>(0, n, [=](i64 i, auto lanes) {
          store(dx + at + i, load(y + at + i, lanes) * (load(dy + at + i, lanes) - dot), lanes);
        });
      },
      [=](i64 at, auto lanes) {
        const vec<T> dot =
            sum_column<T>(n, [=](i64 r) { return load(dy + at + r * inner, lanes) * load(y + at + r * inner, lanes); });
        for (i64 r = 0; r < n; r++) {
          const i64 i = at + r * inner;
          store(dx + i, load(y + i, lanes) * (load(dy + i, lanes) - dot), lanes);
        }
      });
}

template <class T>
void log_softmax(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner) {
  each_along<T>(
      team, outer, n, inner,
      [=](i64 at) {
        const T m = max_row(x + at, n);
        const T total =
            reduce_long_row<Add<T>, T>(n, [=](i64 i, auto lanes) { return exp(load(x + at + i, lanes) - m); });
        const T logarithm = lane(log(vec<T>(total)), 0);
        each_vec<T>(0, n,
                    [=](i64 i, auto lanes) { store(y + at + i, load(x + at + i, lanes) - m - logarithm, lanes); });
      },
      [=](i64 at, auto lanes) {
        const vec<T> m = max_column(x + at, n, inner, lanes);
        const vec<T> logarithm = log(sum_column<T>(n, [=](i64 r) { return exp(load(x + at + r * inner, lanes) - m); }));
        for (i64 r = 0; r < n; r++) store(y + at + r * inner, load(x + at + r * inner, lanes) - m - logarithm, lanes);
      });
}

template <class T>
void log_softmax_backward(Team& team, T* dx, const T* dy, const T* y, i64 outer, i64 n, i64 inner) {
  each_along<T>(
      team, outer, n, inner,
      [=](i64 at) {
        const T total = reduce_long_row<Add<T>, T>(n, [=](i64 i, auto lanes) { return load(dy + at + i, lanes); });
        each_vec<T>(0, n, [=](i64 i, auto lanes) {
          store(dx + at + i, fma(exp(load(y + at + i, lanes)), vec<T>(-total), load(dy + at + i, lanes)), lanes);
        });
      },
      [=](i64 at, auto lanes) {
        const vec<T> total = sum_column<T>(n, [=](i64 r) { return load(dy + at + r * inner, lanes); });
        for (i64 r = 0; r < n; r++) {
          const i64 i = at + r * inner;
          store(dx + i, fma(exp(load(y + i, lanes)), -total, load(dy + i, lanes)), lanes);
        }
      });
}

INSTANTIATE(softmax)
INSTANTIATE(softmax_backward)
INSTANTIATE(log_softmax)
INSTANTIATE(log_softmax_backward)

}  // namespace chainrule::CHAINRULE_ISA
