// vec<T>: 64 bytes of T on every ISA (16 float, 8 double), held in as many registers as the ISA needs. Because the
// width is the same everywhere, a reduction over "lanes" adds in the same order everywhere: same bits
// (docs/numerics.md).
//
// Arithmetic, comparison and bit operations are GCC/Clang vector extensions, written once. What the extensions lack
// (fma, sqrt, partial load and store) comes from the ISA's own small header as `native` functions on one register.
#pragma once
#include "types.h"

namespace chainrule::CHAINRULE_ISA {

template <class T, int Bytes>
struct native_of {
  typedef T type __attribute__((vector_size(Bytes)));
};

template <class T>
struct int_of;
template <>
struct int_of<float> {
  using type = i32;
};
template <>
struct int_of<double> {
  using type = i64;
};
template <>
struct int_of<i32> {
  using type = i32;
};
template <>
struct int_of<i64> {
  using type = i64;
};

}  // namespace chainrule::CHAINRULE_ISA

#include CHAINRULE_SIMD  // kRegisterBytes; kHasFma; native_fma, native_sqrt, native_load(p, n), native_store(p, v, n); GEMM tile sizes

namespace chainrule::CHAINRULE_ISA {

constexpr int kVecBytes = 64;
constexpr int kRegisters = kVecBytes / kRegisterBytes;

template <class T>
using native = typename native_of<T, kRegisterBytes>::type;

template <class T>
struct vec {
  static constexpr int size = kVecBytes / int(sizeof(T));
  static constexpr int lanes = kRegisterBytes / int(sizeof(T));  // of one register
  native<T> r[kRegisters];

  vec() = default;
  CHAINRULE_INLINE vec(T x) {
    for (int i = 0; i < kRegisters; i++) r[i] = x - native<T>{};  // not 0 + x: that would lose the sign of -0
  }
};

// The result of a comparison: all bits of a lane set, or none.
template <class T>
using mask = vec<typename int_of<T>::type>;

template <class To, class From>
CHAINRULE_INLINE vec<To> bitcast(vec<From> x) {
  vec<To> y;
  for (int i = 0; i < kRegisters; i++) y.r[i] = (native<To>)x.r[i];
  return y;
}

template <class T>
CHAINRULE_INLINE vec<T> load(const T* p) {
  vec<T> v;
  for (int i = 0; i < kRegisters; i++) __builtin_memcpy(&v.r[i], p + i * vec<T>::lanes, kRegisterBytes);
  return v;
}

template <class T>
CHAINRULE_INLINE void store(T* p, vec<T> v) {
  for (int i = 0; i < kRegisters; i++) __builtin_memcpy(p + i * vec<T>::lanes, &v.r[i], kRegisterBytes);
}

// The first n lanes (0 <= n <= size); the rest are zero, and no byte past them is read.
template <class T>
CHAINRULE_INLINE vec<T> load(const T* p, i64 n) {
  if (__builtin_constant_p(n) && n >= vec<T>::size) return load(p);
  vec<T> v;
  for (int i = 0; i < kRegisters; i++) v.r[i] = native_load(p + i * vec<T>::lanes, n - i * vec<T>::lanes);
  return v;
}

// The first n lanes; no byte past them is written.
template <class T>
CHAINRULE_INLINE void store(T* p, vec<T> v, i64 n) {
  if (__builtin_constant_p(n) && n >= vec<T>::size) return store(p, v);
  for (int i = 0; i < kRegisters; i++) native_store(p + i * vec<T>::lanes, v.r[i], n - i * vec<T>::lanes);
}

#define BINARY(op)                                                  \
  template <class T>                                                \
  CHAINRULE_INLINE vec<T> operator op(vec<T> a, vec<T> b) {         \
    for (int i = 0; i < kRegisters; i++) a.r[i] = a.r[i] op b.r[i]; \
    return a;                                                       \
  }                                                                 \
  template <class T>                                                \
  CHAINRULE_INLINE vec<T> operator op(vec<T> a, T b) {              \
    return a op vec<T>(b);                                          \
  }                                                                 \
  template <class T>                                                \
  CHAINRULE_INLINE vec<T> operator op(T a, vec<T> b) {              \
    return vec<T>(a) op b;                                          \
  }
BINARY(+)
BINARY(-)
BINARY(*)
BINARY(/)
BINARY(&)
BINARY(|)
BINARY(^)
#undef BINARY

template <class T>
CHAINRULE_INLINE vec<T> operator-(vec<T> a) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = -a.r[i];
  return a;
}

template <class T>
CHAINRULE_INLINE vec<T> operator~(vec<T> a) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = ~a.r[i];
  return a;
}

// Shifts of integer lanes; >> keeps the sign.
template <class T>
CHAINRULE_INLINE vec<T> operator<<(vec<T> a, int n) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = a.r[i] << n;
  return a;
}
template <class T>
CHAINRULE_INLINE vec<T> operator>>(vec<T> a, int n) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = a.r[i] >> n;
  return a;
}

#define COMPARE(op)                                                                                     \
  template <class T>                                                                                    \
  CHAINRULE_INLINE mask<T> operator op(vec<T> a, vec<T> b) {                                            \
    mask<T> m;                                                                                          \
    for (int i = 0; i < kRegisters; i++) m.r[i] = (native<typename int_of<T>::type>)(a.r[i] op b.r[i]); \
    return m;                                                                                           \
  }                                                                                                     \
  template <class T>                                                                                    \
  CHAINRULE_INLINE mask<T> operator op(vec<T> a, T b) {                                                 \
    return a op vec<T>(b);                                                                              \
  }
COMPARE(<)
COMPARE(<=)
COMPARE(>)
COMPARE(>=)
COMPARE(==)
COMPARE(!=)
#undef COMPARE

// m ? a : b, lane by lane.
template <class T>
CHAINRULE_INLINE vec<T> select(mask<T> m, vec<T> a, vec<T> b) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = m.r[i] ? a.r[i] : b.r[i];
  return a;
}

// One bit per lane of a mask, lane 0's lowest; whether all lanes are set.
template <class I>
CHAINRULE_INLINE u32 bits(vec<I> m) {
  u32 all = 0;
  for (int i = 0; i < kRegisters; i++) all |= native_bits(m.r[i]) << (i * vec<I>::lanes);
  return all;
}
template <class I>
CHAINRULE_INLINE bool all(vec<I> m) {
  return bits(m) == (u32(1) << vec<I>::size) - 1;
}

// Of one register, where the ISA has no such instruction.
template <class V>
CHAINRULE_INLINE V native_min(V a, V b) {
  return a < b ? a : b;
}
template <class V>
CHAINRULE_INLINE V native_max(V a, V b) {
  return a > b ? a : b;
}

template <class T>
CHAINRULE_INLINE vec<T> min(vec<T> a, vec<T> b) {  // b where either is NaN
  for (int i = 0; i < kRegisters; i++) a.r[i] = native_min(a.r[i], b.r[i]);
  return a;
}
template <class T>
CHAINRULE_INLINE vec<T> max(vec<T> a, vec<T> b) {  // b where either is NaN
  for (int i = 0; i < kRegisters; i++) a.r[i] = native_max(a.r[i], b.r[i]);
  return a;
}
template <class T>
CHAINRULE_INLINE vec<T> abs(vec<T> a) {
  using I = typename int_of<T>::type;
  return bitcast<T>(bitcast<I>(a) & vec<I>(I(~(I(1) << (8 * sizeof(I) - 1)))));
}

// The magnitude of a with the sign of b: of a NaN too, whose sign compilers may otherwise flip.
template <class T>
CHAINRULE_INLINE vec<T> with_sign_of(vec<T> a, vec<T> b) {
  using I = typename int_of<T>::type;
  const vec<I> sign(I(I(1) << (8 * sizeof(I) - 1)));
  return bitcast<T>((bitcast<I>(a) & ~sign) | (bitcast<I>(b) & sign));
}

// a * b + c, rounded once on every ISA that has FMA.
template <class T>
CHAINRULE_INLINE vec<T> fma(vec<T> a, vec<T> b, vec<T> c) {
  for (int i = 0; i < kRegisters; i++) c.r[i] = native_fma(a.r[i], b.r[i], c.r[i]);
  return c;
}

// The 64-bit products of the low 32 bits of each 64-bit lane; the other bits are ignored.
CHAINRULE_INLINE vec<i64> mul_u32(vec<i64> a, vec<i64> b) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = native_mul_u32(a.r[i], b.r[i]);
  return a;
}

template <class T>
CHAINRULE_INLINE vec<T> sqrt(vec<T> a) {
  for (int i = 0; i < kRegisters; i++) a.r[i] = native_sqrt(a.r[i]);
  return a;
}

// Scalar fma with the ISA's own rounding, for tails that have no vector form.
template <class T>
CHAINRULE_INLINE T fma(T a, T b, T c) {
  return fma(vec<T>(a), vec<T>(b), vec<T>(c)).r[0][0];
}

// x, loaded once: where a load crosses cache lines, repeating it as an operand of every use is slower than a register.
template <class T>
CHAINRULE_INLINE vec<T> keep(vec<T> x) {
  for (int i = 0; i < kRegisters; i++) x.r[i] = native_keep(x.r[i]);
  return x;
}

// Every second lane of a followed by b, from lane First on.
template <int First, class V>
CHAINRULE_INLINE V native_alternate(V a, V b) {
  constexpr int f = First, lanes = int(sizeof(V) / sizeof(a[0]));
  if constexpr (lanes == 2)
    return __builtin_shufflevector(a, b, f, f + 2);
  else if constexpr (lanes == 4)
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6);
  else if constexpr (lanes == 8)
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6, f + 8, f + 10, f + 12, f + 14);
  else
    return __builtin_shufflevector(a, b, f, f + 2, f + 4, f + 6, f + 8, f + 10, f + 12, f + 14, f + 16, f + 18, f + 20,
                                   f + 22, f + 24, f + 26, f + 28, f + 30);
}
template <int First, class T>
CHAINRULE_INLINE vec<T> alternate(vec<T> a, vec<T> b) {
  native<T> both[2 * kRegisters];
  for (int i = 0; i < kRegisters; i++) both[i] = a.r[i], both[kRegisters + i] = b.r[i];
  for (int i = 0; i < kRegisters; i++) a.r[i] = native_alternate<First>(both[2 * i], both[2 * i + 1]);
  return a;
}
template <class T>
CHAINRULE_INLINE vec<T> even(vec<T> a, vec<T> b) {
  return alternate<0>(a, b);
}
template <class T>
CHAINRULE_INLINE vec<T> odd(vec<T> a, vec<T> b) {
  return alternate<1>(a, b);
}

// float lanes 0 to 7 and 8 to 15 as double, and back (rounded to nearest).
struct Widened {
  vec<double> low, high;
};
template <class V>
CHAINRULE_INLINE auto native_low_half(V a) {
  if constexpr (sizeof(V) == 64)
    return __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7);
  else if constexpr (sizeof(V) == 32)
    return __builtin_shufflevector(a, a, 0, 1, 2, 3);
  else
    return __builtin_shufflevector(a, a, 0, 1);
}
template <class V>
CHAINRULE_INLINE auto native_high_half(V a) {
  if constexpr (sizeof(V) == 64)
    return __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
  else if constexpr (sizeof(V) == 32)
    return __builtin_shufflevector(a, a, 4, 5, 6, 7);
  else
    return __builtin_shufflevector(a, a, 2, 3);
}
template <class V>
CHAINRULE_INLINE auto native_join(V a, V b) {
  if constexpr (sizeof(V) == 32)
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  else if constexpr (sizeof(V) == 16)
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  else
    return __builtin_shufflevector(a, b, 0, 1, 2, 3);
}
CHAINRULE_INLINE Widened widen(vec<float> x) {
  native<double> both[2 * kRegisters];
  for (int i = 0; i < kRegisters; i++) {
    both[2 * i] = __builtin_convertvector(native_low_half(x.r[i]), native<double>);
    both[2 * i + 1] = __builtin_convertvector(native_high_half(x.r[i]), native<double>);
  }
  Widened w;
  for (int i = 0; i < kRegisters; i++) w.low.r[i] = both[i], w.high.r[i] = both[kRegisters + i];
  return w;
}
CHAINRULE_INLINE vec<float> narrow(Widened w) {
  using Half = native_of<float, kRegisterBytes / 2>::type;
  native<double> both[2 * kRegisters];
  for (int i = 0; i < kRegisters; i++) both[i] = w.low.r[i], both[kRegisters + i] = w.high.r[i];
  vec<float> x;
  for (int i = 0; i < kRegisters; i++)
    x.r[i] = native_join(__builtin_convertvector(both[2 * i], Half), __builtin_convertvector(both[2 * i + 1], Half));
  return x;
}

template <class T>
CHAINRULE_INLINE T lane(vec<T> v, int i) {
  return v.r[i / vec<T>::lanes][i % vec<T>::lanes];
}

// Lane i + Step in lane i, for i < Step; what the other lanes hold is of no use.
template <int Step, class V>
CHAINRULE_INLINE V native_down(V a) {
  constexpr int lanes = int(sizeof(V) / sizeof(a[0])), s = Step;
#define LANE(i) (i + s) % lanes
  if constexpr (lanes == 2)
    return __builtin_shufflevector(a, a, LANE(0), LANE(1));
  else if constexpr (lanes == 4)
    return __builtin_shufflevector(a, a, LANE(0), LANE(1), LANE(2), LANE(3));
  else if constexpr (lanes == 8)
    return __builtin_shufflevector(a, a, LANE(0), LANE(1), LANE(2), LANE(3), LANE(4), LANE(5), LANE(6), LANE(7));
  else
    return __builtin_shufflevector(a, a, LANE(0), LANE(1), LANE(2), LANE(3), LANE(4), LANE(5), LANE(6), LANE(7),
                                   LANE(8), LANE(9), LANE(10), LANE(11), LANE(12), LANE(13), LANE(14), LANE(15));
#undef LANE
}
template <int Step, class T>
CHAINRULE_INLINE vec<T> down(vec<T> v) {
  if constexpr (Step >= vec<T>::lanes)
    for (int i = 0; i < Step / vec<T>::lanes; i++) v.r[i] = v.r[i + Step / vec<T>::lanes];
  else
    v.r[0] = native_down<Step>(v.r[0]);
  return v;
}

// Combines all lanes in one fixed tree on every ISA: lane i with lane i + size/2, and so on down to one.
template <class T, class F>
CHAINRULE_INLINE T reduce(vec<T> v, F combine) {
  if constexpr (vec<T>::size == 16) v = combine(v, down<8>(v));
  v = combine(v, down<4>(v));
  v = combine(v, down<2>(v));
  return lane(combine(v, down<1>(v)), 0);
}

template <class T>
CHAINRULE_INLINE T sum(vec<T> v) {
  return reduce(v, [](vec<T> a, vec<T> b) { return a + b; });
}

}  // namespace chainrule::CHAINRULE_ISA
