// Walking a broadcasting space (types.h, Strided) row by row, and its operands' rows by vec.
#pragma once
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

template <class T, class F>
CHAINRULE_INLINE void each_vec(i64 n, F&& body) {
  i64 i = 0;
  for (; i + vec<T>::size <= n; i += vec<T>::size) body(i, i64(vec<T>::size));
  if (i < n) body(i, n - i);
}

// Elements p[i * stride] and on.
template <class T>
CHAINRULE_INLINE vec<T> load_run(const T* p, i64 stride, i64 i, i64 lanes) {
  if (stride == 1) return load(p + i, lanes);
  if (stride == 0) return vec<T>(*p);
  T x[vec<T>::size] = {};
  for (i64 k = 0; k < lanes; k++) x[k] = p[(i + k) * stride];
  return load(x);
}

// The same of a bool array, as a mask for vec<T>.
template <class T>
CHAINRULE_INLINE mask<T> load_mask(const bool* p, i64 stride, i64 i, i64 lanes) {
  using I = typename int_of<T>::type;
  I x[vec<T>::size] = {};
  for (i64 k = 0; k < lanes; k++) x[k] = -I(p[(i + k) * stride]);
  return load(x);
}

// row(at, offset, count) for every piece of an innermost row that a chunk holds: `at` is the linear index of its first
// element, offset[o] where operand o has that.
template <int Operands, class Row>
CHAINRULE_INLINE void rows_of(Team& team, const Strided& space, i64 grain, Row&& row) {
  const int last = space.dims - 1;
  i64 n = 1;
  for (int d = 0; d < space.dims; d++) n *= space.shape[d];
  parallel_for(team, n, grain, [&](i64 begin, i64 end) {
    i64 index[kMaxDims], offset[Operands] = {};
    i64 rest = begin;
    for (int d = last; d >= 0; d--) {
      index[d] = rest % space.shape[d];
      rest /= space.shape[d];
      for (int o = 0; o < Operands; o++) offset[o] += index[d] * space.stride[o][d];
    }
    for (i64 at = begin; at < end;) {
      const i64 count = at_most(end - at, space.shape[last] - index[last]);
      row(at, offset, count);
      at += count;
      if (at == end) break;
      // To the start of the next row, with the carries.
      for (int o = 0; o < Operands; o++) offset[o] -= index[last] * space.stride[o][last];
      index[last] = 0;
      for (int d = last - 1; d >= 0; d--) {
        for (int o = 0; o < Operands; o++) offset[o] += space.stride[o][d];
        if (++index[d] < space.shape[d]) break;
        for (int o = 0; o < Operands; o++) offset[o] -= space.shape[d] * space.stride[o][d];
        index[d] = 0;
      }
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
