// y = a compared with b, a bool, over a broadcasting space: y is contiguous, the operands' strides are space.stride[0]
// and [1]. NaN is unequal to everything and neither above nor below. The logical ones take what isn't zero as true.
//
// Nine kernels of six dtypes are the loops of seven tests of five: a > b is b < a, and a bool is a byte that is 0 or 1.
#include "kernels.h"
#include "strided.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Plain loops: compilers make vectors of them, and of the bytes that they store. Of the last one, for short rows and
// other strides, they would be many instructions and no faster: the empty asm keeps it as it is.
template <class U, class F>
CHAINRULE_INLINE void each(bool* __restrict y, const U* u, i64 su, const U* v, i64 sv, i64 n, F f) {
  constexpr i64 kShort = 16;
  if (n >= kShort && su == 1 && sv == 1) {
    for (i64 i = 0; i < n; i++) y[i] = f(u[i], v[i]);
  } else if (n >= kShort && su == 1 && sv == 0) {
    const U w = *v;
    for (i64 i = 0; i < n; i++) y[i] = f(u[i], w);
  } else if (n >= kShort && su == 0 && sv == 1) {
    const U w = *u;
    for (i64 i = 0; i < n; i++) y[i] = f(w, v[i]);
  } else {
    for (i64 i = 0; i < n; i++) {
      y[i] = f(u[i * su], v[i * sv]);
      asm volatile("");
    }
  }
}

#define TEST(name, expression)                         \
  struct name {                                        \
    template <class U>                                 \
    CHAINRULE_INLINE bool operator()(U u, U v) const { \
      return expression;                               \
    }                                                  \
  };
TEST(Equal, u == v)
TEST(Unequal, u != v)
TEST(Below, u < v)
TEST(AtMost, u <= v)
TEST(Both, (u != U(0)) & (v != U(0)))
TEST(Either, (u != U(0)) | (v != U(0)))
TEST(One, (u != U(0)) != (v != U(0)))
#undef TEST

using Loop = void (*)(bool* y, const void* a, i64 sa, const void* b, i64 sb, i64 n);
template <class Test, class U>
void loop(bool* y, const void* a, i64 sa, const void* b, i64 sb, i64 n) {
  each(y, static_cast<const U*>(a), sa, static_cast<const U*>(b), sb, n, Test());
}

// One walk for all loops: in each of them it would be most of the code.
CHAINRULE_OUT_OF_LINE void walk(Team& team, bool* y, const void* a, const void* b, const Strided& space, i64 item,
                                Loop row) {
  const i64 sa = space.stride[0][space.dims - 1], sb = space.stride[1][space.dims - 1];
  rows_of<2>(team, space, 4 * kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    row(y + at, static_cast<const char*>(a) + offset[0] * item, sa, static_cast<const char*>(b) + offset[1] * item, sb,
        count);
  });
}

template <class Test>
void compare(Team& team, bool* y, const void* a, const void* b, const Strided& space, Dtype dtype) {
  const auto go = [&](i64 item, Loop row) { walk(team, y, a, b, space, item, row); };
  switch (dtype) {
    case Dtype::float32:
      return go(4, loop<Test, float>);
    case Dtype::float64:
      return go(8, loop<Test, double>);
    case Dtype::int32:
      return go(4, loop<Test, i32>);
    case Dtype::int64:
      return go(8, loop<Test, i64>);
    case Dtype::uint8:
    case Dtype::boolean:
      return go(1, loop<Test, uint8_t>);
  }
}

// The same space with the operands in the other order.
Strided swapped(const Strided& space) {
  Strided other = space;
  for (int d = 0; d < space.dims; d++) other.stride[0][d] = space.stride[1][d], other.stride[1][d] = space.stride[0][d];
  return other;
}

}  // namespace

// The same for both columns of the table.
#define COMPARE(name, call)                                                                         \
  template <class T>                                                                                \
  void name(Team& team, bool* y, const void* a, const void* b, const Strided& space, Dtype dtype) { \
    call;                                                                                           \
  }                                                                                                 \
  INSTANTIATE(name)
COMPARE(eq, compare<Equal>(team, y, a, b, space, dtype))
COMPARE(ne, compare<Unequal>(team, y, a, b, space, dtype))
COMPARE(lt, compare<Below>(team, y, a, b, space, dtype))
COMPARE(gt, compare<Below>(team, y, b, a, swapped(space), dtype))
COMPARE(le, compare<AtMost>(team, y, a, b, space, dtype))
COMPARE(ge, compare<AtMost>(team, y, b, a, swapped(space), dtype))
COMPARE(logical_and, compare<Both>(team, y, a, b, space, dtype))
COMPARE(logical_or, compare<Either>(team, y, a, b, space, dtype))
COMPARE(logical_xor, compare<One>(team, y, a, b, space, dtype))
#undef COMPARE

}  // namespace chainrule::CHAINRULE_ISA
