// y = x in another dtype, for a contiguous y and x of any strides.
//   to float      rounded to nearest
//   to an integer towards zero; NaN and what is out of range give the lowest int32 or int64 (what x86 gives), and for
//                 uint8 the low byte of that int64
//   to bool       whether it isn't zero (NaN isn't)
#include "kernels.h"
#include "strided.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
constexpr bool kFloating = false;
template <>
constexpr bool kFloating<float> = true;
template <>
constexpr bool kFloating<double> = true;

template <class I, class F>
CHAINRULE_INLINE I truncated(F v) {
  constexpr I lowest = I(I(1) << (8 * sizeof(I) - 2)) * -2;
  const F limit = -F(lowest);  // a power of two
  return v >= -limit && v < limit ? I(v) : lowest;
}

template <class To, class From>
struct Convert {
  static CHAINRULE_INLINE To of(From v) {
    if constexpr (kFloating<From> && !kFloating<To> && sizeof(To) == 1)
      return To(truncated<i64>(v));
    else if constexpr (kFloating<From> && !kFloating<To>)
      return truncated<To>(v);
    else
      return To(v);
  }
};
template <class From>
struct Convert<bool, From> {
  static CHAINRULE_INLINE bool of(From v) { return v != 0; }
};

// What x is read as: a bool is a byte of 0 or 1, but loops over bools aren't vectorised.
template <class From>
struct Read {
  using type = From;
};
template <>
struct Read<bool> {
  using type = uint8_t;
};

// `count` elements from x on, `step` apart.
using CastRow = void (*)(void* y, const void* x, i64 count, i64 step);
template <class To, class From>
void cast_row(void* y, const void* x, i64 count, i64 step) {
  To* const out = static_cast<To*>(y);
  const From* const in = static_cast<const From*>(x);
  if (step == 1)
    for (i64 i = 0; i < count; i++) out[i] = Convert<To, From>::of(in[i]);
  else
    for (i64 i = 0; i < count; i++) out[i] = Convert<To, From>::of(in[i * step]);
}

i64 size_of(Dtype dtype) {
  return by_dtype(dtype, [](auto v) { return i64(sizeof(v)); });
}

// Once for both columns of the table, which don't differ. Rows are found once for all pairs of dtypes.
CHAINRULE_OUT_OF_LINE void cast_any(Team& team, void* y, const void* x, const Strided& space, Dtype to, Dtype from) {
  const CastRow row = by_dtype(to, [&](auto u) {
    return by_dtype(from, [](auto v) -> CastRow { return cast_row<decltype(u), typename Read<decltype(v)>::type>; });
  });
  const i64 step = space.stride[0][space.dims - 1], out = size_of(to), in = size_of(from);
  rows_of<1>(team, space, 2 * kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    row(static_cast<char*>(y) + at * out, static_cast<const char*>(x) + offset[0] * in, count, step);
  });
}

}  // namespace

template <class T>
void cast(Team& team, void* y, const void* x, const Strided& space, Dtype to, Dtype from) {
  cast_any(team, y, x, space, to, from);
}

INSTANTIATE(cast)

}  // namespace chainrule::CHAINRULE_ISA
