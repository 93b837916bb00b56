// y = a compared with b, a bool, over a broadcasting space: y is contiguous, the operands' strides are space.stride[0]
// and [1]. NaN is unequal to everything and neither above nor below. The logical ones take what isn't zero as true.
#include "kernels.h"
#include "strided.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Plain loops: compilers make vectors of them, and of the bytes that they store.
template <class U, class F>
CHAINRULE_INLINE void compare(Team& team, bool* y, const U* a, const U* b, const Strided& space, F&& f) {
  const i64 sa = space.stride[0][space.dims - 1], sb = space.stride[1][space.dims - 1];
  rows_of<2>(team, space, 4 * kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    bool* const out = y + at;
    const U *const u = a + offset[0], *const v = b + offset[1];
    if (sa == 1 && sb == 1) {
      for (i64 i = 0; i < count; i++) out[i] = f(u[i], v[i]);
    } else if (sa == 1 && sb == 0) {
      const U w = *v;
      for (i64 i = 0; i < count; i++) out[i] = f(u[i], w);
    } else {
      for (i64 i = 0; i < count; i++) out[i] = f(u[i * sa], v[i * sb]);
    }
  });
}

// Once for both columns of the table, which don't differ.
template <class F>
CHAINRULE_OUT_OF_LINE void compare_any(Team& team, bool* y, const void* a, const void* b, const Strided& space,
                                       Dtype dtype, F&& f) {
  by_dtype(dtype, [&](auto zero) {
    using U = decltype(zero);
    compare(team, y, static_cast<const U*>(a), static_cast<const U*>(b), space, f);
  });
}

}  // namespace

#define COMPARE(name, expression)                                                                   \
  namespace {                                                                                       \
  struct Test_##name {                                                                              \
    template <class U>                                                                              \
    CHAINRULE_INLINE bool operator()(U u, U v) const {                                              \
      return expression;                                                                            \
    }                                                                                               \
  };                                                                                                \
  }                                                                                                 \
  template <class T>                                                                                \
  void name(Team& team, bool* y, const void* a, const void* b, const Strided& space, Dtype dtype) { \
    compare_any(team, y, a, b, space, dtype, Test_##name());                                        \
  }                                                                                                 \
  INSTANTIATE(name)
COMPARE(eq, u == v)
COMPARE(ge, u >= v)
COMPARE(gt, u > v)
COMPARE(le, u <= v)
COMPARE(logical_and, (u != U(0)) & (v != U(0)))
COMPARE(logical_or, (u != U(0)) | (v != U(0)))
COMPARE(logical_xor, (u != U(0)) != (v != U(0)))
COMPARE(lt, u < v)
COMPARE(ne, u != v)
#undef COMPARE

}  // namespace chainrule::CHAINRULE_ISA
