// What pools and convolutions share: which taps of a window lie inside the plane, and loads of every stride-th element.
#pragma once
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

struct Span {
  i64 begin, end;
};

// The taps t of `kernel` whose position start + t * dilation lies in [0, size).
CHAINRULE_INLINE Span taps_inside(i64 start, i64 kernel, i64 dilation, i64 size) {
  const i64 begin = start < 0 ? ceil_div(-start, dilation) : 0;
  const i64 end = start < size ? at_most(kernel, ceil_div(size - start, dilation)) : 0;
  return {begin, at_least(begin, end)};
}

// The outputs o of [0, out) whose position o * stride + offset lies in [0, size): one tap's view along one axis.
CHAINRULE_INLINE Span outputs_inside(i64 out, i64 stride, i64 offset, i64 size) {
  const i64 begin = at_most(out, offset < 0 ? ceil_div(-offset, stride) : 0);
  const i64 end = offset < size ? at_most(out, ceil_div(size - offset, stride)) : 0;
  return {begin, at_least(begin, end)};
}

// The output columns whose whole window lies inside the plane.
CHAINRULE_INLINE Span whole_windows(const Window2d& g) {
  const Span first = outputs_inside(g.ow, g.sw, -g.pw, g.w),
             last = outputs_inside(g.ow, g.sw, (g.kw - 1) * g.dw - g.pw, g.w);
  return {first.begin, at_least(first.begin, last.end)};
}

// Lanes p[0], p[stride], ..., n of them (the rest zero); no byte past the last is read. Stride 0 stands for "any".
template <int Stride, class T>
CHAINRULE_INLINE vec<T> load_every(const T* p, i64 stride, i64 n) {
  constexpr int size = vec<T>::size;
  if constexpr (Stride == 1) return n == size ? load(p) : load(p, n);
  if constexpr (Stride == 2) return even(n == size ? load(p) : load(p, 2 * n - 1), load(p + size, 2 * n - 1 - size));
  T lanes[size] = {};
  for (i64 i = 0; i < n; i++) lanes[i] = p[i * stride];
  return load(lanes);
}

}  // namespace chainrule::CHAINRULE_ISA
