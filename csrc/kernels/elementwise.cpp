// y = a op b, and y = mask ? a : b, over a broadcasting space: y is contiguous in the space's order, the operands'
// strides are space.stride[0], [1] (and [2]). A stride of 0 repeats; bindings have merged what could be merged, so a
// pass over arrays of one shape has one dimension.
//
//   maximum, minimum: NaN where either is NaN. pow: as C's, 1 for x^0 and 1^y whatever the other is.
#include "kernels.h"
#include "strided.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

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

// Plain loops, which compilers turn into vectors; those over bools they don't.
template <class T>
CHAINRULE_INLINE void choose(T* y, const bool* condition, const T* a, const T* b, i64 stride_b, i64 n) {
  const uint8_t* const c = reinterpret_cast<const uint8_t*>(condition);
  const T rest = *b;
  if (stride_b == 1)
    for (i64 i = 0; i < n; i++) {
      const T u = a[i], v = b[i];
      y[i] = c[i] ? u : v;
    }
  else
    for (i64 i = 0; i < n; i++) {
      const T u = a[i];
      y[i] = c[i] ? u : rest;
    }
}

template <class T>
void where(Team& team, T* y, const bool* condition, const T* a, const T* b, const Strided& space) {
  const i64* stride[3] = {space.stride[0], space.stride[1], space.stride[2]};
  const int last = space.dims - 1;
  const i64 sc = stride[0][last], sa = stride[1][last], sb = stride[2][last];
  rows_of<3>(team, space, kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    const bool* const c = condition + offset[0];
    const T *const u = a + offset[1], *const v = b + offset[2];
    if (sc == 1 && sa == 1 && sb <= 1 && sb >= 0) return choose(y + at, c, u, v, sb, count);
    each_vec<T>(count, [&](i64 i, i64 lanes) {
      store(y + at + i, select<T>(load_mask<T>(c, sc, i, lanes), load_run(u, sa, i, lanes), load_run(v, sb, i, lanes)),
            lanes);
    });
  });
}

INSTANTIATE(where)

}  // namespace chainrule::CHAINRULE_ISA
