// Updates of a whole list of tensors in one call, each parameter p, gradient g and state read once. Formulas and their
// order are PyTorch's; g is -g under maximize; t counts a tensor's own steps, from 1.
//
// sgd    g += weight_decay p                  b = t == 1 ? g : momentum b + (1 - dampening) g
//        p -= lr (nesterov ? g + momentum b : b), or lr g without momentum
// adam   coupled: g += weight_decay p         decoupled: p *= 1 - lr weight_decay
//        m += (1 - beta1) (g - m)             v = beta2 v + (1 - beta2) g g
//        p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps); amsgrad: sqrt of the largest v so far
// total_norm       sqrt(sum of x x over all arrays)
// clip_grad_norm   g *= min(max_norm / (total_norm + 1e-6), 1)
// clip_grad_value  g = min(max(g, -limit), limit), NaN stays NaN
//
// A tensor's counter advances in the call that moves the tensor: a step is done for all of the list or for none of it.
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

// Elements per chunk of the norm: a part of what it means (docs/numerics.md).
constexpr i64 kNormGrain = 8192;
// Of an update: Adam moves 28 bytes of each element, 5 us from memory. Fewer, if that gives each thread a part.
i64 update_grain(const Team& team, const Segments& list) {
  constexpr i64 kMost = 4096, kLeast = 1024, kLine = 64;
  return at_most(kMost, at_least(kLeast, round_up(ceil_div(list.start[list.count], i64(team.size())), kLine)));
}
// Elements ahead; a prefetch past an array's end does nothing. 256 took 1.2 times as long for 1e5 and for 1e7
// parameters (Zen 4), 1024 1.3 times for 1e6.
constexpr i64 kPrefetch = 64;

// body(tensor, from, to) for the elements [from, to) of one tensor, all of the list shared among the team in chunks of
// `grain`. A large tensor and the small ones behind it are shared out by themselves: a thread gets the same part of a
// weight as of the products that read it and of the one that makes its gradient (gemm.h).
template <class F>
CHAINRULE_INLINE void for_each_span(Team& team, const Segments& list, i64 grain, F&& body) {
  const i64 total = list.start[list.count], large = 2 * grain * team.size();
  i64 behind = 0;  // the tensor that follows the group
  for (i64 first = 0, past; first < total; first = past) {
    for (past = first; past == first;) {
      for (behind++; behind < list.count && list.size[behind] < large;) behind++;
      past = behind < list.count ? list.start[behind] / grain * grain : total;
    }
    parallel_for(team, past - first, grain, [&](i64 group_begin, i64 group_end) {
      const i64 begin = first + group_begin, end = first + group_end;
      i64 tensor = 0;  // the last that starts at or before `begin`
      for (i64 last = list.count; last - tensor > 1;) {
        const i64 middle = (tensor + last) / 2;
        (list.start[middle] <= begin ? tensor : last) = middle;
      }
      for (; tensor < list.count && list.start[tensor] < end; tensor++) {
        const i64 start = list.start[tensor];
        const i64 from = at_least(begin, start) - start, to = at_most(end - start, list.size[tensor]);
        if (from < to) body(tensor, from, to);
      }
    });
  }
}

// The team has read every counter when the last chunk is done; one thread advances them.
CHAINRULE_INLINE void advance(Team& team, i64* const* steps, i64 count) {
  team.barrier();
  if (team.rank() != 0) return;
  for (i64 i = 0; i < count; i++) ++*steps[i];
}

// x^n for 0 <= x < 1 in twice double's precision, rounded once: the same bits everywhere, and Python's beta ** step.
// Products are split by Dekker's method, which needs no fma.
struct Pair {
  double high, low;
};
CHAINRULE_INLINE Pair times(Pair a, Pair b) {
  constexpr double kSplit = 134217729;  // 2^27 + 1
  const double ca = kSplit * a.high, ah = ca - (ca - a.high), al = a.high - ah;
  const double cb = kSplit * b.high, bh = cb - (cb - b.high), bl = b.high - bh;
  const double product = a.high * b.high;
  const double error = ((ah * bh - product) + ah * bl + al * bh) + al * bl;
  const double low = error + (a.high * b.low + a.low * b.high);
  const double high = product + low;
  return {high, low - (high - product)};
}
double power(double x, i64 n) {
  Pair result = {1, 0}, square = {x, 0};
  for (; n > 0; n /= 2) {
    if (n % 2) result = times(result, square);
    square = times(square, square);
  }
  return result.high;
}

// What depends on a tensor's step count, remembered while the count stays the same from tensor to tensor.
struct Correction {
  i64 step = 0;
  double size = 0, inverse_root = 0;  // lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step)

  CHAINRULE_INLINE void at(i64 now, const AdamSettings& s) {
    if (now == step) return;
    step = now;
    size = s.lr / (1 - power(s.beta1, now));
    inverse_root = 1 / lane(sqrt(vec<double>(1 - power(s.beta2, now))), 0);
  }
};

// The sum of squares in three ranges, so that neither overflow nor underflow spoils it (Blue's algorithm). Squares of
// float32 are exact in double and always in the middle range.
constexpr double kBig = 0x1p486, kShrink = 0x1p-700, kSmall = 0x1p-511, kGrow = 0x1p700;
enum Range { kMiddle, kAbove, kBelow, kRanges };

CHAINRULE_INLINE void add_squares(vec<double>* sums, vec<double> x) {
  const vec<double> size = abs(x);
  const mask<double> above = size > kBig, below = size < kSmall;
  const vec<double> zero(0), shrunk = select<double>(above, x * kShrink, zero),
                             grown = select<double>(below, x * kGrow, zero);
  const vec<double> middle = select<double>(above | below, zero, x);
  sums[kMiddle] = fma(middle, middle, sums[kMiddle]);
  sums[kAbove] = fma(shrunk, shrunk, sums[kAbove]);
  sums[kBelow] = fma(grown, grown, sums[kBelow]);
}

CHAINRULE_INLINE void span_squares(const double* x, i64 from, i64 to, vec<double>* sums) {
  each_vec<double>(from, to, [&](i64 i, auto lanes) { add_squares(sums, load(x + i, lanes)); });
}

CHAINRULE_INLINE void span_squares(const float* x, i64 from, i64 to, vec<double>* sums) {
  double low[vec<double>::size], high[vec<double>::size];
  constexpr int kHalf = vec<double>::size;
  vec<double> second(0);
  each_vec<float>(from, to, [&](i64 i, auto lanes) {
    float part[vec<float>::size];
    store(part, load(x + i, lanes));
    for (int l = 0; l < kHalf; l++) low[l] = double(part[l]);
    for (int l = 0; l < kHalf; l++) high[l] = double(part[l + kHalf]);
    const vec<double> a = load(low), b = load(high);
    sums[kMiddle] = fma(a, a, sums[kMiddle]);
    second = fma(b, b, second);
  });
  sums[kMiddle] = sums[kMiddle] + second;
}

CHAINRULE_INLINE double root(double x) { return lane(sqrt(vec<double>(x)), 0); }

i64 norm_grain(i64 elements) {
  constexpr i64 kMostPartials = i64(1) << 20;
  return at_least(kNormGrain, round_up(ceil_div(elements, kMostPartials), kNormGrain));
}

// Chunks' sums added in ascending order; every thread that calls this gets the same bits.
double combine_norm(const double* partials, i64 chunks) {
  double sums[kRanges] = {0, 0, 0};
  for (i64 c = 0; c < chunks; c++)
    for (int r = 0; r < kRanges; r++) sums[r] += partials[c * kRanges + r];
  if (sums[kAbove] != 0) return root(sums[kAbove] + (sums[kMiddle] * kShrink) * kShrink) / kShrink;
  if (sums[kBelow] == 0) return root(sums[kMiddle]);
  const double below = root(sums[kBelow]) / kGrow;
  if (sums[kMiddle] == 0) return below;
  const double middle = root(sums[kMiddle]), ratio = below / middle;
  return middle * root(1 + ratio * ratio);
}

// The norm, on every thread; ends with the team past a barrier.
template <class T>
CHAINRULE_INLINE double norm_of(Team& team, const T* const* arrays, const Segments& list, double* partials) {
  const i64 total = list.start[list.count], grain = norm_grain(total);
  parallel_for(team, ceil_div(total, grain) * kRanges, kFlatGrain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) partials[i] = 0;
  });
  team.barrier();  // a chunk may belong to another thread than its zeros
  // Within a chunk, spans are summed one after the other; which spans a chunk has depends on the shapes alone.
  for_each_span(team, list, grain, [&](i64 tensor, i64 from, i64 to) {
    vec<double> sums[kRanges] = {0.0, 0.0, 0.0};
    span_squares(arrays[tensor], from, to, sums);
    double* partial = partials + (list.start[tensor] + from) / grain * kRanges;
    for (int r = 0; r < kRanges; r++) partial[r] += sum(sums[r]);
  });
  team.barrier();
  return combine_norm(partials, ceil_div(total, grain));
}

}  // namespace

template <class T>
void sgd(Team& team, T* const* params, T* const* buffers, i64* const* steps, const T* const* grads,
         const Segments& list, const SgdSettings& s) {
  const T sign = s.maximize ? T(-1) : T(1);
  const vec<T> rate{T(-s.lr)}, decay{T(s.weight_decay)}, momentum{T(s.momentum)}, fresh{T(1 - s.dampening)};
  for_each_span(team, list, update_grain(team, list), [&](i64 tensor, i64 from, i64 to) {
    T *p = params[tensor], *buffer = buffers ? buffers[tensor] : nullptr;
    const T* grad = grads[tensor];
    const bool first = buffers && *steps[tensor] == 0;
    each_vec<T>(from, to, [&](i64 i, auto lanes) {
      __builtin_prefetch(p + i + kPrefetch);
      __builtin_prefetch(grad + i + kPrefetch);
      if (buffer) __builtin_prefetch(buffer + i + kPrefetch);
      const vec<T> x = load(p + i, lanes);
      vec<T> g = load(grad + i, lanes) * sign;
      if (s.weight_decay != 0) g = fma(decay, x, g);
      if (buffer) {
        const vec<T> b = first ? g : fma(momentum, load(buffer + i, lanes), fresh * g);
        store(buffer + i, b, lanes);
        g = s.nesterov ? fma(momentum, b, g) : b;
      }
      store(p + i, fma(rate, g, x), lanes);
    });
  });
  if (buffers) advance(team, steps, list.count);
}

template <class T>
void adam(Team& team, T* const* params, T* const* exp_avgs, T* const* exp_avg_sqs, T* const* max_exp_avg_sqs,
          i64* const* steps, const T* const* grads, const Segments& list, const AdamSettings& s) {
  const T sign = s.maximize ? T(-1) : T(1);
  const vec<T> decay{T(s.weight_decay)}, shrink{T(1 - s.lr * s.weight_decay)}, eps{T(s.eps)};
  // As PyTorch's lerp: from m for a small weight, back from g for a large one, exact at both ends.
  const double weight = 1 - s.beta1;
  const bool from_m = weight < 0.5;
  const vec<T> lerp{T(from_m ? weight : weight - 1)}, beta2{T(s.beta2)}, fresh{T(1 - s.beta2)};
  Correction correction;
  for_each_span(team, list, update_grain(team, list), [&](i64 tensor, i64 from, i64 to) {
    correction.at(*steps[tensor] + 1, s);
    const vec<T> size{T(correction.size)}, inverse_root{T(correction.inverse_root)};
    T *p = params[tensor], *m = exp_avgs[tensor], *v = exp_avg_sqs[tensor];
    T* largest = max_exp_avg_sqs ? max_exp_avg_sqs[tensor] : nullptr;
    const T* grad = grads[tensor];
    each_vec<T>(from, to, [&](i64 i, auto lanes) {
      __builtin_prefetch(p + i + kPrefetch);
      __builtin_prefetch(grad + i + kPrefetch);
      __builtin_prefetch(m + i + kPrefetch);
      __builtin_prefetch(v + i + kPrefetch);
      vec<T> x = load(p + i, lanes), g = load(grad + i, lanes) * sign;
      if (s.weight_decay != 0) {
        if (s.decoupled)
          x = x * shrink;
        else
          g = fma(decay, x, g);
      }
      const vec<T> m0 = load(m + i, lanes);
      const vec<T> m1 = fma(lerp, g - m0, from_m ? m0 : g);
      vec<T> v1 = fma(fresh * g, g, beta2 * load(v + i, lanes));
      store(m + i, m1, lanes);
      store(v + i, v1, lanes);
      if (largest) {
        v1 = max(load(largest + i, lanes), v1);
        store(largest + i, v1, lanes);
      }
      store(p + i, x - size * m1 / fma(sqrt(v1), inverse_root, eps), lanes);
    });
  });
  advance(team, steps, list.count);
}

template <class T>
i64 total_norm_partials(i64 elements) {
  return ceil_div(elements, norm_grain(elements)) * kRanges;
}

template <class T>
void total_norm(Team& team, T* norm, const T* const* arrays, const Segments& list, double* partials) {
  const double result = norm_of(team, arrays, list, partials);
  if (team.rank() == 0) *norm = T(result);
}

template <class T>
void clip_grad_norm(Team& team, T* norm, T* const* grads, const Segments& list, double max_norm, double* partials) {
  const T result = T(norm_of(team, grads, list, partials));
  if (team.rank() == 0) *norm = result;
  const T scale = T(max_norm) / (result + T(1e-6));
  if (scale >= T(1)) return;  // NaN goes on: it must reach the gradients
  for_each_span(team, list, update_grain(team, list), [&](i64 tensor, i64 from, i64 to) {
    T* g = grads[tensor];
    each_vec<T>(from, to, [&](i64 i, auto lanes) { store(g + i, load(g + i, lanes) * scale, lanes); });
  });
}

template <class T>
void clip_grad_value(Team& team, T* const* grads, const Segments& list, double limit) {
  const vec<T> high{T(limit)}, low{T(-limit)};
  for_each_span(team, list, update_grain(team, list), [&](i64 tensor, i64 from, i64 to) {
    T* g = grads[tensor];
    each_vec<T>(from, to, [&](i64 i, auto lanes) { store(g + i, min(high, max(low, load(g + i, lanes))), lanes); });
  });
}

INSTANTIATE(sgd)
INSTANTIATE(adam)
INSTANTIATE(total_norm_partials)
INSTANTIATE(total_norm)
INSTANTIATE(clip_grad_norm)
INSTANTIATE(clip_grad_value)

}  // namespace chainrule::CHAINRULE_ISA
