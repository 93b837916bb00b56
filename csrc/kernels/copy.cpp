// Copies between views of any strides, and one value everywhere.
//   copy   y[i] = x[i]
//   fill   y[i] = the first `item` bytes of `bits`
// The bindings have put y's fastest dimension last and merged what could be merged. What x does along that dimension
// decides between five loops: x runs along it too (whole rows), stays (rows of one value), runs along another dimension
// (a transpose, in square tiles), walks backwards, or leaps.
#include "items.h"
#include "kernels.h"
#include "strided.h"
#include "transpose.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kChunkBytes = i64(1) << 15;

// What the registers that transpose hold.
template <class U>
struct lane_of {
  using type = float;
};
template <>
struct lane_of<u64> {
  using type = double;
};

template <class U>
CHAINRULE_INLINE U get(const char* p) {
  U u;
  __builtin_memcpy(&u, p, sizeof u);
  return u;
}
template <class U>
CHAINRULE_INLINE void put(char* p, U u) {
  __builtin_memcpy(p, &u, sizeof u);
}

// Bytes that don't overlap. Short runs are worth no call: whole vecs, the last one over what the one before it wrote.
CHAINRULE_INLINE void copy_run(char* y, const char* x, i64 bytes) {
  constexpr i64 size = 64, kMost = 1024;
  if (bytes < size || bytes > kMost) {
    __builtin_memcpy(y, x, u64(bytes));
    return;
  }
  const auto move = [&](i64 at) { put(y + at, get<vec<float>>(x + at)); };
  i64 i = 0;
  for (; i + size <= bytes; i += size) move(i);
  if (i < bytes) move(bytes - size);
}

// row(y, x, count) for every row along the last dimension, whole or in pieces.
template <class Row>
CHAINRULE_INLINE void each_row(Team& team, char* y, const char* x, const Strided& space, i64 item, Row&& row) {
  rows_of<2>(team, space, kChunkBytes / item,
             [&](i64, const i64* offset, i64 count) { row(y + offset[0], x + offset[1], count); });
}

// The last dimension of x into y's. Always inlined: where a stride is a constant, the loop is made for it.
template <class U>
CHAINRULE_INLINE void leap(char* __restrict y, const char* __restrict x, i64 count, i64 sy, i64 sx) {
  for (i64 i = 0; i < count; i++) put<U>(y + i * sy, get<U>(x + i * sx));
}
template <class U>
CHAINRULE_INLINE void repeat(char* y, U value, i64 count, i64 sy) {
  if (sy == i64(sizeof(U)))
    for (i64 i = 0; i < count; i++) put<U>(y + i * i64(sizeof(U)), value);
  else
    for (i64 i = 0; i < count; i++) put<U>(y + i * sy, value);
}

// One tile of a transpose: y[i * y_row + j] = x[j * x_row + i] in elements, for i < columns, j < rows.
template <class U>
CHAINRULE_INLINE void tile(char* y, i64 y_row, const char* x, i64 x_row, i64 rows, i64 columns) {
  if constexpr (sizeof(U) < 4) {
    for (i64 i = 0; i < columns; i++)
      for (i64 j = 0; j < rows; j++)
        put<U>(y + i * y_row + j * i64(sizeof(U)), get<U>(x + j * x_row + i * i64(sizeof(U))));
  } else {
    using T = typename lane_of<U>::type;
    constexpr i64 n = kSquare<T>;
    T* out = reinterpret_cast<T*>(y);
    const T* in = reinterpret_cast<const T*>(x);
    y_row /= i64(sizeof(T)), x_row /= i64(sizeof(T));
    for (i64 j = 0; j < rows; j += n)
      for (i64 i = 0; i < columns; i += n)
        transpose_part(out + i * y_row + j, y_row, in + j * x_row + i, x_row, at_most(n, rows - j),
                       at_most(n, columns - i));
  }
}

// Dimension `across` is the one along which x runs. Tiles of kRows along y's by kColumns along x's fastest dimension:
// x is read in as many streams as a square has rows, and both tiles stay in L1.
template <class U>
void transpose(Team& team, char* y, const char* x, const Strided& space, int across) {
  constexpr i64 kRows = 64, kColumns = 256 / i64(sizeof(U));
  const int last = space.dims - 1;
  const i64 rows = space.shape[last], columns = space.shape[across];
  const i64 down = ceil_div(rows, kRows), right = ceil_div(columns, kColumns);
  i64 tiles = down * right;
  for (int d = 0; d < last; d++)
    if (d != across) tiles *= space.shape[d];
  const i64 bytes = at_most(rows, kRows) * at_most(columns, kColumns) * i64(sizeof(U));
  parallel_for(team, tiles, at_least<i64>(1, kChunkBytes / bytes), [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; t++) {
      const i64 i = t % right * kColumns, j = t / right % down * kRows;
      char* to = y + i * space.stride[0][across] + j * i64(sizeof(U));
      const char* from = x + i * i64(sizeof(U)) + j * space.stride[1][last];
      i64 rest = t / right / down;
      for (int d = last - 1; d >= 0; d--) {
        if (d == across) continue;
        to += rest % space.shape[d] * space.stride[0][d];
        from += rest % space.shape[d] * space.stride[1][d];
        rest /= space.shape[d];
      }
      tile<U>(to, space.stride[0][across], from, space.stride[1][last], at_most(kRows, rows - j),
              at_most(kColumns, columns - i));
    }
  });
}

template <class U>
CHAINRULE_INLINE void copy_items(Team& team, char* y, const char* x, const Strided& space) {
  constexpr i64 item = sizeof(U);
  const int last = space.dims - 1;
  const i64 sy = space.stride[0][last], sx = space.stride[1][last];
  if (sy == item && sx != 0 && sx != item)
    for (int d = 0; d < last; d++)
      if (space.stride[1][d] == item) return transpose<U>(team, y, x, space, d);
  each_row(team, y, x, space, item, [&](char* to, const char* from, i64 count) {
    if (sy == item && sx == item)
      copy_run(to, from, count * item);
    else if (sx == 0)
      repeat(to, get<U>(from), count, sy);
    else if (sy == item && sx == -item)
      leap<U>(to, from, count, item, -item);
    else if (sy == item)
      leap<U>(to, from, count, item, sx);
    else
      leap<U>(to, from, count, sy, sx);
  });
}

// Once for both columns of the table, which don't differ.
CHAINRULE_OUT_OF_LINE void copy_any(Team& team, void* y, const void* x, const Strided& space, i64 item) {
  by_item(item,
          [&](auto u) { copy_items<decltype(u)>(team, static_cast<char*>(y), static_cast<const char*>(x), space); });
}

CHAINRULE_OUT_OF_LINE void fill_any(Team& team, void* y, u64 bits, const Strided& space, i64 item) {
  by_item(item, [&](auto u) {
    using U = decltype(u);
    const i64 sy = space.stride[0][space.dims - 1];
    rows_of<1>(team, space, kChunkBytes / item, [&](i64, const i64* offset, i64 count) {
      repeat(static_cast<char*>(y) + offset[0], U(bits), count, sy);
    });
  });
}

}  // namespace

template <class T>
void copy(Team& team, void* y, const void* x, const Strided& space, i64 item) {
  copy_any(team, y, x, space, item);
}

template <class T>
void fill(Team& team, void* y, u64 bits, const Strided& space, i64 item) {
  fill_any(team, y, bits, space, item);
}

INSTANTIATE(copy)
INSTANTIATE(fill)

}  // namespace chainrule::CHAINRULE_ISA
