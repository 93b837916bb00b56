// Losses between x and target, n elements each. Reduction none: loss (n,); sum and mean: one number; dloss likewise.
//   mse_loss                             loss = (x - t)²                                    dx = 2 (x - t) dloss
//   binary_cross_entropy_with_logits     loss = w ((1 - t) x + l (log(1 + exp(-|x|)) + max(-x, 0))), l = 1 +
//   (pos_weight - 1) t
//                                        dx = w (l sigmoid(x) - pos_weight t) dloss
// weight and pos_weight have n elements, or are null for ones. mean divides loss, and dx, by n.
#include "kernels.h"
#include "rows.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

// loss(i, lanes) stored, or summed: chunks of kRowChunk, their sums in `partials`, added by one thread.
template <class T, class F>
CHAINRULE_INLINE void reduce_loss(Team& team, T* out, i64 n, Reduction reduction, T* partials, F&& loss) {
  parallel_for(team, ceil_div(n, kRowChunk), 1, [&](i64 begin, i64 end) {
    for (i64 chunk = begin; chunk < end; chunk++) {
      const i64 first = chunk * kRowChunk, count = at_most(kRowChunk, n - first);
      if (reduction == Reduction::none)
        each_vec<T>(first, first + count, [&](i64 i, auto lanes) { store(out + i, loss(i, lanes), lanes); });
      else
        partials[chunk] = reduce_row<Add<T>, T>(count, [&](i64 i, auto lanes) { return loss(first + i, lanes); });
    }
  });
  if (reduction == Reduction::none) return;
  team.barrier();
  parallel_for(team, 1, 1, [&](i64, i64) {
    const T total = reduce_long_row<Add<T>, T>(ceil_div(n, kRowChunk),
                                               [=](i64 i, auto lanes) { return load(partials + i, lanes); });
    *out = reduction == Reduction::mean ? total / T(n) : total;
  });
}

// dx = gradient(i, lanes) dloss.
template <class T, class F>
CHAINRULE_INLINE void spread_gradient(Team& team, T* dx, const T* dloss, i64 n, Reduction reduction, F&& gradient) {
  parallel_for(team, n, kFlatGrain, [&](i64 begin, i64 end) {
    const T all = reduction == Reduction::none ? T(0) : reduction == Reduction::mean ? *dloss / T(n) : *dloss;
    each_vec<T>(begin, end, [&](i64 i, auto lanes) {
      const vec<T> g = reduction == Reduction::none ? load(dloss + i, lanes) : vec<T>(all);
      store(dx + i, gradient(i, lanes) * g, lanes);
    });
  });
}

template <class T, class L>
CHAINRULE_INLINE vec<T> or_one(const T* p, i64 i, L lanes) {
  return p ? load(p + i, lanes) : vec<T>(T(1));
}

}  // namespace

template <class T>
i64 loss_partials(i64 n) {
  return ceil_div(n, kRowChunk);
}

template <class T>
void mse_loss(Team& team, T* loss, const T* x, const T* target, i64 n, Reduction reduction, T* partials) {
  reduce_loss(team, loss, n, reduction, partials, [=](i64 i, auto lanes) {
    const vec<T> d = load(x + i, lanes) - load(target + i, lanes);
    return d * d;
  });
}

template <class T>
void mse_loss_backward(Team& team, T* dx, const T* dloss, const T* x, const T* target, i64 n, Reduction reduction) {
  spread_gradient(team, dx, dloss, n, reduction,
                  [=](i64 i, auto lanes) { return (load(x + i, lanes) - load(target + i, lanes)) * T(2); });
}

template <class T>
void binary_cross_entropy_with_logits(Team& team, T* loss, const T* x, const T* target, const T* weight,
                                      const T* pos_weight, i64 n, Reduction reduction, T* partials) {
  reduce_loss(team, loss, n, reduction, partials, [=](i64 i, auto lanes) {
    const vec<T> v = load(x + i, lanes), t = load(target + i, lanes);
    const vec<T> l = fma(or_one(pos_weight, i, lanes) - T(1), t, vec<T>(T(1)));
    const vec<T> softplus = log1p(exp(-abs(v))) + max(-v, vec<T>(T(0)));
    return or_one(weight, i, lanes) * fma(T(1) - t, v, l * softplus);
  });
}

template <class T>
void binary_cross_entropy_with_logits_backward(Team& team, T* dx, const T* dloss, const T* x, const T* target,
                                               const T* weight, const T* pos_weight, i64 n, Reduction reduction) {
  spread_gradient(team, dx, dloss, n, reduction, [=](i64 i, auto lanes) {
    const vec<T> t = load(target + i, lanes), p = or_one(pos_weight, i, lanes);
    const vec<T> l = fma(p - T(1), t, vec<T>(T(1)));
    return or_one(weight, i, lanes) * (l * sigmoid(load(x + i, lanes)) - p * t);
  });
}

INSTANTIATE(loss_partials)
INSTANTIATE(mse_loss)
INSTANTIATE(mse_loss_backward)
INSTANTIATE(binary_cross_entropy_with_logits)
INSTANTIATE(binary_cross_entropy_with_logits_backward)

}  // namespace chainrule::CHAINRULE_ISA
