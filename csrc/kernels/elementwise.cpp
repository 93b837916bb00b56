// y = a op b, and y = mask ? a : b, over a broadcasting space: y is contiguous in the space's order, the operands'
// strides are space.stride[0], [1] (and [2]). A stride of 0 repeats; bindings have merged what could be merged, so a
// pass over arrays of one shape has one dimension.
//
//   maximum, minimum: NaN where either is NaN. pow: as C's, 1 for x^0 and 1^y whatever the other is.
#include "kernels.h"
#include "loops.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

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

template <class T, class F>
CHAINRULE_INLINE void binary(Team& team, T* y, const T* a, const T* b, const Strided& space, F&& f) {
  const i64 sa = space.stride[0][space.dims - 1], sb = space.stride[1][space.dims - 1];
  rows_of<2>(team, space, kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    T* out = y + at;
    const T *u = a + offset[0], *v = b + offset[1];
    if (sa == 1 && sb == 1) {
      each_vec<T>(count, [&](i64 i, i64 lanes) { store(out + i, f(load(u + i, lanes), load(v + i, lanes)), lanes); });
    } else if (sa == 1 && sb == 0) {
      const vec<T> w(*v);
      each_vec<T>(count, [&](i64 i, i64 lanes) { store(out + i, f(load(u + i, lanes), w), lanes); });
    } else if (sa == 0 && sb == 1) {
      const vec<T> w(*u);
      each_vec<T>(count, [&](i64 i, i64 lanes) { store(out + i, f(w, load(v + i, lanes)), lanes); });
    } else {
      each_vec<T>(count, [&](i64 i, i64 lanes) {
        store(out + i, f(load_run(u, sa, i, lanes), load_run(v, sb, i, lanes)), lanes);
      });
    }
  });
}

}  // namespace

#define BINARY(name, expression)                                                        \
  template <class T>                                                                    \
  void name(Team& team, T* y, const T* a, const T* b, const Strided& space) {           \
    binary(team, y, a, b, space, [](vec<T> u, vec<T> v) { return expression; });        \
  }                                                                                     \
  template void name<float>(Team&, float*, const float*, const float*, const Strided&); \
  template void name<double>(Team&, double*, const double*, const double*, const Strided&);
BINARY(add, u + v)
BINARY(div, u / v)
BINARY(maximum, select<T>(u != u, u, select<T>(u > v, u, v)))
BINARY(minimum, select<T>(u != u, u, select<T>(u < v, u, v)))
BINARY(mul, u* v)
BINARY(pow, pow(u, v))
BINARY(sub, u - v)
#undef BINARY

template <class T>
void where(Team& team, T* y, const bool* condition, const T* a, const T* b, const Strided& space) {
  const i64* stride[3] = {space.stride[0], space.stride[1], space.stride[2]};
  const int last = space.dims - 1;
  const i64 sc = stride[0][last], sa = stride[1][last], sb = stride[2][last];
  rows_of<3>(team, space, kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    each_vec<T>(count, [&](i64 i, i64 lanes) {
      const mask<T> m = load_mask<T>(condition + offset[0], sc, i, lanes);
      const vec<T> u = load_run(a + offset[1], sa, i, lanes), v = load_run(b + offset[2], sb, i, lanes);
      store(y + at + i, select<T>(m, u, v), lanes);
    });
  });
}

INSTANTIATE(where)

}  // namespace chainrule::CHAINRULE_ISA
