// How a product is shared out: chunks of C, spans of K, the scratch that they want. None of it enters the order of a
// sum (docs/numerics.md).
#pragma once
#include "thin.h"

namespace chainrule::CHAINRULE_ISA {

// How C is cut into chunks, and K into spans that are computed apart when C alone has too few chunks.
struct Grid {
  i64 m, n, k;
  i64 rows;  // of a chunk; the last one has fewer
  i64 row_chunks, column_chunks;
  i64 steps, step;  // columns are shared out in so many steps of so many; the last chunk takes what is left, too
  i64 widest;       // the most columns of a chunk, to the next whole panel
  i64 spans;        // of K, each at most kSpanK; 1 when K is empty
  bool split;       // the spans' sums go to scratch and are added in a second pass
  i64 group;        // chunks are numbered by groups of so many row chunks, in a group column by column
  bool keeps;  // a thread has room for all of K of the columns of B that it packs, and keeps them for the chunk below

  // The first column of a chunk. Rounded to the nearest step: narrow chunks lie in the middle, and the first half of
  // all takes as long as the second.
  CHAINRULE_INLINE i64 column(i64 chunk) const {
    return chunk < column_chunks ? (2 * chunk * steps + column_chunks) / (2 * column_chunks) * step : n;
  }
};

constexpr i64 kThinCost = 4;
constexpr i64 kMostRows = 504;     // its half is a multiple of every ISA's kTileRows: tiles come out even
constexpr i64 kMostColumns = 256;  // a block of B: 256 KB of float32 in the L2, beside A's tile in the L1

template <class T>
CHAINRULE_INLINE Grid grid_of(i64 batches, i64 m, i64 n, i64 k) {
  constexpr i64 kEnoughChunks = 16;
  constexpr i64 kSmallChunk = i64(1) << 19;     // products: 5 to 10 us
  constexpr i64 kLeastChunk = i64(1) << 15;     // 0.5 us
  constexpr i64 kFewColumns = 512 / sizeof(T);  // a tile of A, once near, should serve this many
  constexpr i64 kMostPartials = i64(1) << 22;
  const i64 spans = at_least(i64(1), ceil_div(k, kSpanK));
  const bool splits = spans > 1 && m * n > 0 && batches * spans * m * n <= kMostPartials;
  i64 rows = at_most(m, kMostRows), columns = at_most(round_up(n, kPanel<T>), kMostColumns);
  const auto chunks = [&] {
    return batches * ceil_div(m, at_least(rows, i64(1))) * ceil_div(n, at_least(columns, i64(1)));
  };
  const auto items = [&] { return splits ? spans * chunks() : chunks(); };
  // With few chunks, one that is left over for a single thread costs more than packing B for half as many rows.
  if (items() < 2 * kEnoughChunks) rows = at_most(m, kMostRows / 2);
  // Few rows take as long as kThinCost of them: reading B is what costs. So do few columns.
  const bool narrow = n <= kNarrowColumns<T>;
  const auto work = [&] { return at_least(rows, kThinCost) * (narrow ? kThinCost : columns) * k; };
  while (items() < kEnoughChunks && work() >= 2 * kSmallChunk) {
    // Near squares: packing B is shared by a chunk's rows, fetching A by its columns.
    const bool tall = rows >= 6 * kTileRows;
    if (columns >= kFewColumns && (columns >= rows || !tall))
      columns = round_up(columns / 2, kPanel<T>);
    else if (tall)
      rows = round_up(rows / 2, kTileRows);
    else
      break;
  }
  // Still one: two, where that leaves each thread more work than calling it takes.
  if (chunks() == 1 && work() >= 2 * kLeastChunk) {
    const bool even = ceil_div(n, kPanel<T>) % 2 == 0;
    if (rows >= 4 * kTileRows || (rows > kTileRows && !even))
      rows = ceil_div(rows, i64(2));
    else if (even)
      columns /= 2;
  }
  Grid g{m, n,     k, 0,    ceil_div(m, at_least(rows, i64(1))), ceil_div(n, at_least(columns, i64(1))), 0, 0, 0,
         0, false, 1, false};
  // An odd number of chunks would keep one of two threads for the last.
  if (narrow && g.row_chunks > 1) g.row_chunks += g.row_chunks % 2;
  if (g.row_chunks > 1 && g.row_chunks * g.column_chunks % 2 && m >= (g.row_chunks + 1) * 2 * kTileRows) g.row_chunks++;
  if (g.column_chunks > 1 && g.row_chunks * g.column_chunks % 2) g.column_chunks++;
  // Equal chunks instead of full ones and a small last one.
  g.rows = g.row_chunks ? ceil_div(m, g.row_chunks) : 0;
  if (narrow && g.row_chunks > 1) g.rows = round_up(g.rows, i64(kSquare<T>));
  // With few of them a whole panel more or less is much. A column or two beyond whole vecs (thin.h) ride with the last.
  const i64 few = n % vec<T>::size, whole = few <= kNarrowColumns<T> / 3 ? n - few : n;
  g.step = g.column_chunks <= kEnoughChunks ? i64(vec<T>::size) : kPanel<T>;
  g.steps = ceil_div(whole, g.step);
  if (g.column_chunks) g.column_chunks = at_most(g.column_chunks, at_least(i64(1), g.steps));
  if (g.column_chunks)
    g.widest =
        round_up(at_least(ceil_div(g.steps, g.column_chunks) * g.step, n - g.column(g.column_chunks - 1)), kPanel<T>);
  if (g.rows) g.row_chunks = ceil_div(m, g.rows);
  g.spans = spans;
  g.split = splits && chunks() < kEnoughChunks;
  return g;
}

// The same grid in one group: a thread's share is of columns, and it reads those of B alone.
CHAINRULE_INLINE Grid by_columns(Grid g) {
  g.group = at_least(i64(1), g.row_chunks);
  return g;
}

// The same grid for a B that takes long to pack (kKeeps, sources.h): what a thread has packed serves the chunk below,
// which it mostly takes next. If there is no order by columns yet, there are groups: as many rows of A as stay near
// until the next column, and a group for each of two threads.
CHAINRULE_INLINE Grid keeping(Grid g) {
  constexpr i64 kNear = i64(1) << 17;
  const i64 near = g.column_chunks > 1 ? kNear / at_least(i64(1), g.rows * g.k) : g.row_chunks;
  if (g.group == 1) g.group = at_least(i64(1), at_most(near, ceil_div(g.row_chunks, i64(2))));
  g.keeps = g.group > 1 && g.spans == 1 && g.k * g.widest <= kBlockK * kMostColumns;
  return g;
}

// What a thread packs at a time: a tile of A, or the operands of a product of few columns (thin.h).
template <class T>
constexpr i64 kSmallScratch = at_least(at_least(kTileSize<T>, kPacksColumns ? kBlockK* RowSums<T>::kReads : 0),
                                       kThinRows*(kBlockK + round_up(kMostRows, i64(kSquare<T>))));

// Scratch of one thread: that, the packed panels of a block of B, or of all, and a chunk's sums of the current span.
template <class T>
CHAINRULE_INLINE i64 thread_scratch(const Grid& g) {
  const i64 span = g.spans > 1 && !g.split ? g.rows * g.widest : 0;
  return kSmallScratch<T> + (g.keeps ? g.k : at_most(kBlockK, g.k)) * g.widest + round_up(span, vec<T>::size);
}

// Elements of scratch that products() wants for a team of `threads`.
template <class T>
CHAINRULE_INLINE i64 products_scratch(i64 batches, const Grid& g, i64 threads) {
  return threads * thread_scratch<T>(g) + (g.split ? batches * g.spans * g.m * g.n : 0);
}

// Whether PlainColumns should be `direct`: its panels are used for few tiles only, or lie close together.
template <class T>
CHAINRULE_INLINE bool worth_reading_direct(const Grid& g, i64 ld) {
  constexpr i64 kNearBytes = 1024;
  return g.rows <= 2 * kTileRows || ld * i64(sizeof(T)) <= kNearBytes;
}

// A part of C: rows [row, row + rows), columns [column, column + columns).
struct Part {
  i64 row, rows, column, columns;
};

template <class T>
CHAINRULE_INLINE Part part_of(const Grid& g, i64 chunk) {
  const i64 top = chunk / (g.group * g.column_chunks) * g.group, high = at_most(g.group, g.row_chunks - top);
  const i64 in_group = chunk - top * g.column_chunks;
  const i64 row = (top + in_group % high) * g.rows, column = g.column(in_group / high);
  return {row, at_most(g.rows, g.m - row), column, g.column(in_group / high + 1) - column};
}

}  // namespace chainrule::CHAINRULE_ISA
