// Whole numbers near x, with x's sign where they are zero: floor, ceil, trunc, round (halves to even). sign: -1, 0 or
// 1, 0 for NaN.
//
// A magnitude below 2^23 (2^52 in double) is whole after 2^23 was added and taken away again, rounded as the addition
// rounds: to nearest, halves to even. From there on every float is whole.
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
constexpr T kWhole = T(i64(1) << (sizeof(T) == 4 ? 23 : 52));

template <class T, class F>
CHAINRULE_INLINE void each(Team& team, T* y, const T* x, i64 n, F&& f) {
  parallel_for(team, n, 4 * kFlatGrain, [&](i64 begin, i64 end) {
    each_vec<T>(begin, end, [&](i64 i, auto lanes) { store(y + i, f(load(x + i, lanes)), lanes); });
  });
}

template <class T>
CHAINRULE_INLINE vec<T> nearest(vec<T> x) {
  const vec<T> size = abs(x);
  return with_sign_of(select<T>(size < kWhole<T>, (size + kWhole<T>)-kWhole<T>, size), x);
}

template <class T>
CHAINRULE_INLINE vec<T> one_if(mask<T> m) {
  return select<T>(m, vec<T>(T(1)), vec<T>(T(0)));
}

template <class T>
CHAINRULE_INLINE vec<T> lower(vec<T> v) {
  if constexpr (kHasFloor) {
    for (int i = 0; i < kRegisters; i++) v.r[i] = native_floor(v.r[i]);
    return v;
  } else {
    const vec<T> r = nearest(v);
    return select<T>(v == v, with_sign_of(r - one_if<T>(r > v), v), v);
  }
}

}  // namespace

template <class T>
void round(Team& team, T* y, const T* x, i64 n) {
  each(team, y, x, n, [](vec<T> v) { return select<T>(v == v, nearest(v), v); });
}

template <class T>
void floor(Team& team, T* y, const T* x, i64 n) {
  each(team, y, x, n, [](vec<T> v) { return lower(v); });
}

template <class T>
void ceil(Team& team, T* y, const T* x, i64 n) {
  each(team, y, x, n, [](vec<T> v) { return -lower(-v); });
}

template <class T>
void trunc(Team& team, T* y, const T* x, i64 n) {
  each(team, y, x, n, [](vec<T> v) { return with_sign_of(lower(abs(v)), v); });
}

template <class T>
void sign(Team& team, T* y, const T* x, i64 n) {
  each(team, y, x, n, [](vec<T> v) { return one_if<T>(v > T(0)) - one_if<T>(v < T(0)); });
}

INSTANTIATE(ceil)
INSTANTIATE(floor)
INSTANTIATE(round)
INSTANTIATE(sign)
INSTANTIATE(trunc)

}  // namespace chainrule::CHAINRULE_ISA
