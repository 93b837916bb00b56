// Reading and writing by index along one dimension. x and y (outer, n, inner); `source` has `count` for n.
//
//   index_places  y = base n + index, over a broadcasting space; base null: 0; an index < 0 counts from the end
//   index_select  y[o, i, :] = x[o, index[i], :]
//   index_copy    y[o, index[i], :] = source[o, i, :], in ascending i: of duplicates the last stays
//   index_add     y[o, index[i], :] += source[o, i, :], in ascending i
//   gather        y[o, i, j] = x[o, index[o, i, j], j]
//   scatter       y[o, index[o, i, j], j] = source[o, i, j], in ascending i: of duplicates the last stays
//   scatter_add   y[o, index[o, i, j], j] += source[o, i, j], in ascending i
//
// Bindings check the indices, in a replay too. One that is out of range all the same reads zeros and writes nothing.
//
// Writes that may meet belong to one chunk, which walks all of `index`: a range of y's rows (index_copy, index_add: the
// rows are looked up once per range), a range of columns (scatter, scatter_add).
#include "items.h"
#include "kernels.h"
#include "strided.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr i64 kChunkBytes = i64(1) << 15;
constexpr i64 kRanges = 8;  // each costs one look at all indices

CHAINRULE_INLINE bool inside(i64 index, i64 n) { return u64(index) < u64(n); }

// visit(o, i, row) for each index[i] = row that lies in [0, n), in ascending i for each row and o.
template <class F>
CHAINRULE_INLINE void each_write(Team& team, const i64* index, i64 outer, i64 n, i64 count, F&& visit) {
  const i64 ranges = at_least<i64>(1, at_most(n, kRanges));
  parallel_for(team, outer * ranges, 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; c++) {
      const i64 o = c / ranges, first = c % ranges * n / ranges, last = (c % ranges + 1) * n / ranges;
      for (i64 i = 0; i < count; i++)
        if (index[i] >= first && index[i] < last) visit(o, i, index[i]);
    }
  });
}

// columns(o, from, to) for ranges of columns: `inner` is cut where there are few `outer`.
template <class F>
CHAINRULE_INLINE void each_column(Team& team, i64 outer, i64 count, i64 inner, F&& columns) {
  const i64 width = at_least<i64>(16, at_most(inner, kFlatGrain / at_least<i64>(1, count)));
  const i64 pieces = ceil_div(inner, width);
  parallel_for(team, outer * pieces, at_least<i64>(1, kFlatGrain / at_least<i64>(1, count * at_most(width, inner))),
               [&](i64 begin, i64 end) {
                 i64 o = begin / at_least<i64>(1, pieces), piece = begin - o * pieces;
                 for (i64 c = begin; c < end; c++) {
                   columns(o, piece * width, at_most(inner, (piece + 1) * width));
                   if (++piece == pieces) piece = 0, o++;
                 }
               });
}

// visit(place in y, k) for each index[k] in range, in ascending i for each o and j.
template <class F>
CHAINRULE_INLINE void each_place(Team& team, const i64* index, i64 outer, i64 n, i64 count, i64 inner, F&& visit) {
  each_column(team, outer, count, inner, [&](i64 o, i64 from, i64 to) {
    const i64 first = o * count * inner, base = o * n * inner;
    const i64* const at = index + first;
    if (inner == 1) {
      for (i64 i = 0; i < count; i++)
        if (inside(at[i], n)) visit(base + at[i], first + i);
      return;
    }
    for (i64 i = 0; i < count; i++)
      for (i64 j = from; j < to; j++) {
        const i64 k = i * inner + j;
        if (inside(at[k], n)) visit(base + at[k] * inner + j, first + k);
      }
  });
}

}  // namespace

// Below `low`, v - low is negative, above `high` high - 1 - v; where one of them wraps around, the other is negative.
template <class T>
i64 first_outside(const i64* values, i64 begin, i64 end, i64 low, i64 high, i64 except) {
  constexpr i64 kBlock = 256;
  for (i64 from = begin; from < end; from += kBlock) {
    const i64 to = at_most(end, from + kBlock);
    u64 outside = 0;
    for (i64 i = from; i < to; i++) {
      const u64 v = u64(values[i]);
      outside |= v == u64(except) ? 0 : (v - u64(low)) | (u64(high) - 1 - v);
    }
    if (i64(outside) >= 0) continue;
    for (i64 i = from; i < to; i++)
      if (values[i] != except && (values[i] < low || values[i] >= high)) return i;
  }
  return end;
}

template <class T>
void index_places(Team& team, i64* y, const i64* base, const i64* index, const Strided& space, i64 n) {
  const i64 sb = space.stride[0][space.dims - 1], si = space.stride[1][space.dims - 1];
  rows_of<2>(team, space, kFlatGrain, [&](i64 at, const i64* offset, i64 count) {
    for (i64 i = 0; i < count; i++) {
      const i64 place = index[offset[1] + i * si];
      y[at + i] = (base ? base[offset[0] + i * sb] * n : 0) + place + (place < 0 ? n : 0);
    }
  });
}

template <class T>
void index_select(Team& team, void* y, const void* x, const i64* index, i64 outer, i64 n, i64 count, i64 inner,
                  i64 item) {
  const i64 row = inner * item;
  char* const out = static_cast<char*>(y);
  const char* const in = static_cast<const char*>(x);
  parallel_for(team, outer * count, at_least<i64>(1, kChunkBytes / at_least<i64>(1, row)), [&](i64 begin, i64 end) {
    i64 o = begin / count, i = begin % count;
    for (i64 r = begin; r < end; r++) {
      if (inside(index[i], n))
        __builtin_memcpy(out + r * row, in + (o * n + index[i]) * row, u64(row));
      else
        __builtin_memset(out + r * row, 0, u64(row));
      if (++i == count) i = 0, o++;
    }
  });
}

template <class T>
void index_copy(Team& team, void* y, const i64* index, const void* source, i64 outer, i64 n, i64 count, i64 inner,
                i64 item) {
  const i64 row = inner * item;
  each_write(team, index, outer, n, count, [&](i64 o, i64 i, i64 at) {
    __builtin_memcpy(static_cast<char*>(y) + (o * n + at) * row,
                     static_cast<const char*>(source) + (o * count + i) * row, u64(row));
  });
}

template <class T>
void index_add(Team& team, T* y, const i64* index, const T* source, i64 outer, i64 n, i64 count, i64 inner) {
  each_write(team, index, outer, n, count, [&](i64 o, i64 i, i64 at) {
    T* const to = y + (o * n + at) * inner;
    const T* const from = source + (o * count + i) * inner;
    each_vec<T>(0, inner,
                [&](i64 j, auto lanes) { store(to + j, load(to + j, lanes) + load(from + j, lanes), lanes); });
  });
}

template <class T>
void gather(Team& team, void* y, const void* x, const i64* index, i64 outer, i64 n, i64 count, i64 inner, i64 item) {
  by_item(item, [&](auto u) {
    using U = decltype(u);
    U* const out = static_cast<U*>(y);
    const U* const in = static_cast<const U*>(x);
    // Where inner is 1, a run is what shares an o; else a row of y, of which `rows` share one.
    const i64 run = inner == 1 ? count : inner, rows = inner == 1 ? 1 : count;
    parallel_for(team, outer * count * inner, kFlatGrain, [&](i64 begin, i64 end) {
      i64 o = begin / run / rows, row = begin / run - o * rows, j = begin - begin / run * run;
      for (i64 k = begin; k < end; j = 0) {
        const i64 last = at_most(end, k - j + run);
        const U* const from = in + o * n * inner;
        if (inner == 1)
          for (; k < last; k++) out[k] = inside(index[k], n) ? from[index[k]] : U(0);
        else
          for (; k < last; k++, j++) out[k] = inside(index[k], n) ? from[index[k] * inner + j] : U(0);
        if (++row == rows) row = 0, o++;
      }
    });
  });
}

template <class T>
void scatter(Team& team, void* y, const i64* index, const void* source, i64 outer, i64 n, i64 count, i64 inner,
             i64 item) {
  by_item(item, [&](auto u) {
    using U = decltype(u);
    U* const to = static_cast<U*>(y);
    const U* const values = static_cast<const U*>(source);
    each_place(team, index, outer, n, count, inner, [&](i64 place, i64 k) { to[place] = values[k]; });
  });
}

template <class T>
void scatter_add(Team& team, T* y, const i64* index, const T* source, i64 outer, i64 n, i64 count, i64 inner) {
  each_place(team, index, outer, n, count, inner, [&](i64 place, i64 k) { y[place] += source[k]; });
}

INSTANTIATE(first_outside)
INSTANTIATE(index_places)
INSTANTIATE(index_select)
INSTANTIATE(index_copy)
INSTANTIATE(index_add)
INSTANTIATE(gather)
INSTANTIATE(scatter)
INSTANTIATE(scatter_add)

}  // namespace chainrule::CHAINRULE_ISA
