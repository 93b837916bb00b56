// Blocks of attention: kTile keys by kTile queries of scores x[j][i], one query per lane, so that maxima and sums over
// keys run down the lanes. Rows of a block are kTile elements apart.
#pragma once
#include "gemm.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {

// Keys are taken in tiles of this many: part of what attention means, like kBlockK (docs/numerics.md). So are queries
// in the sums over them.
constexpr i64 kTile = 64;
// On the diagonal of a causal block whole groups of keys that no query of a group sees are left out.
constexpr i64 kGroup = 32;

// Queries and keys are cut into tiles at the same places. Where causal, the one that isn't full is the first, which
// sees and is seen the least: 65 positions take 1.05 times the products of 64, with a short last tile 1.35 times.
CHAINRULE_INLINE i64 first_tile(const Attention& a) {
  const i64 rest = a.causal ? a.queries % kTile : 0;
  return rest > 0 ? rest : kTile;
}
CHAINRULE_INLINE i64 tiles_of(const Attention& a, i64 rows) {
  return rows > 0 ? 1 + ceil_div(at_least(i64(0), rows - first_tile(a)), kTile) : 0;
}
CHAINRULE_INLINE i64 tile_begin(const Attention& a, i64 n) { return n > 0 ? first_tile(a) + (n - 1) * kTile : 0; }
CHAINRULE_INLINE i64 tile_end(const Attention& a, i64 begin) { return begin > 0 ? begin + kTile : first_tile(a); }
// How many of the queries, or keys, are in the tile; none or less where it begins past them.
CHAINRULE_INLINE i64 queries_at(const Attention& a, i64 begin) {
  return at_most(tile_end(a, begin), a.queries) - begin;
}
CHAINRULE_INLINE i64 keys_at(const Attention& a, i64 begin) { return at_most(tile_end(a, begin), a.keys) - begin; }

// Rows of a block: queries and keys in it, and whether it lies on a causal diagonal (its first query is its first key).
struct Block {
  i64 queries, keys;
  bool diagonal;
};
CHAINRULE_INLINE Block block_at(const Attention& a, i64 query, i64 key) {
  return {queries_at(a, query), keys_at(a, key), a.causal && query == key};
}
// Tiles of keys at or past this one are seen by no query of the tile that begins at `query`.
CHAINRULE_INLINE i64 keys_end(const Attention& a, i64 query) { return a.causal ? at_most(a.keys, query + 1) : a.keys; }

// f(begin, end, from): queries [from, queries) see keys [begin, end).
template <class F>
CHAINRULE_INLINE void each_key_group(const Block& b, F&& f) {
  if (!b.diagonal) return f(0, b.keys, 0);
  f(0, at_most(b.keys, kGroup), 0);
  if (b.keys > kGroup && b.queries > kGroup) f(kGroup, b.keys, kGroup);
}
// f(begin, end, keys): queries [begin, end) see keys [0, keys).
template <class F>
CHAINRULE_INLINE void each_query_group(const Block& b, F&& f) {
  if (!b.diagonal) return f(0, b.queries, b.keys);
  f(0, at_most(b.queries, kGroup), at_most(b.keys, kGroup));
  if (b.queries > kGroup) f(kGroup, b.queries, b.keys);
}

// Rows of arrays that the block after this one reads or writes first, sent for a few at a time while this one is
// multiplied: a head is too short for the hardware to guess what comes, and in a training step it lies in memory
// (backward of 12 x 4 heads of 64 x 32 in a step: 395 us, 460 without).
template <class T>
struct Coming {
  static constexpr int kMost = 8;
  struct Rows {
    const T* at;
    i64 ld, columns, left;
  };
  Rows list[kMost];
  int arrays = 0;
  void add(const T* array, i64 ld, i64 columns, i64 first, i64 rows) {
    if (rows > 0 && columns > 0) list[arrays++] = {array + first * ld, ld, columns, rows};
  }
  // As many lines as the products of a tile hide.
  void send() {
    constexpr i64 kLine = 64 / sizeof(T), kLines = 32;
    for (i64 left = kLines; left > 0 && arrays > 0;) {
      Rows& r = list[arrays - 1];
      const i64 lines = ceil_div(r.columns, kLine), rows = at_most(r.left, ceil_div(left, lines));
      for (i64 n = 0; n < rows; n++, r.at += r.ld)
        for (i64 i = 0; i < lines; i++) send_for(r.at + i * kLine);
      left -= rows * lines;
      if ((r.left -= rows) == 0) arrays--;
    }
  }
};

// c = or += a b, depth <= kTile. b's rows are readable to the next whole vec of columns.
template <class T, class A>
CHAINRULE_INLINE void block_product(T* c, i64 ldc, i64 rows, i64 columns, bool add, A a, const T* b, i64 ldb, i64 depth,
                                    Coming<T>& next) {
  const i64 tiles = ceil_div(rows, i64(kTileRows));
  for (i64 t = 0; t < tiles; t++) {
    const i64 first = t * rows / tiles, count = (t + 1) * rows / tiles - first;
    for (i64 j = 0; j < columns; j += kPanel<T>) {
      next.send();
      tile_product(c + first * ldc + j, ldc, count, at_most(kPanel<T>, columns - j), add, a.from(first), b + j, ldb,
                   depth);
    }
  }
}

// x[j][i] = the dot product of row j of `rows` and column i of `columns` (depth, kTile), wherever query i may see key
// j; to the next whole vec of queries.
template <class T>
void dot_products(T* x, const Block& b, const T* rows, i64 ld, const T* columns, i64 depth, T* tile, Coming<T>& next) {
  const i64 end_column = round_up(b.queries, vec<T>::size);
  each_key_group(b, [&](i64 begin, i64 end, i64 from) {
    const i64 tiles = ceil_div(end - begin, i64(kTileRows));
    for (i64 t = 0; t < tiles; t++) {
      const i64 first = begin + t * (end - begin) / tiles, count = begin + (t + 1) * (end - begin) / tiles - first;
      for (i64 d = 0; d < depth; d += kBlockK) {
        const i64 terms = at_most(kBlockK, depth - d);
        const auto a = PlainRows<T>{rows, ld}.tile(tile, first, count, d, terms);
        for (i64 i = from; i < end_column; i += kPanel<T>) {
          next.send();
          tile_product(x + first * kTile + i, kTile, count, at_most(kPanel<T>, end_column - i), d > 0, a,
                       columns + d * kTile + i, kTile, terms);
        }
      }
    }
  });
}

// to[d][i] = from[i][d] for `rows` rows, zeros after them up to a whole vec; to's rows are kTile elements apart.
template <class T>
void load_transposed(T* to, const T* from, i64 ld, i64 rows, i64 columns) {
  for (i64 i = 0; i < round_up(rows, vec<T>::size); i += kSquare<T>)
    for (i64 d = 0; d < columns; d += kSquare<T>)
      transpose_square(to + d * kTile + i, kTile, from + i * ld + d, ld,
                       at_least(i64(0), at_most(i64(kSquare<T>), rows - i)), at_most(i64(kSquare<T>), columns - d));
}

// to[i][d] = from[d][i]; from's rows are kTile elements apart.
template <class T>
void store_transposed(T* to, i64 ld, const T* from, i64 rows, i64 columns) {
  constexpr i64 kSide = kSquare<T>;
  T square[kSide * kSide];
  for (i64 i = 0; i < rows; i += kSide)
    for (i64 d = 0; d < columns; d += kSide) {
      const i64 high = at_most(kSide, rows - i), wide = at_most(kSide, columns - d);
      T* const out = to + i * ld + d;
      if (wide == kSide) {
        transpose_square(out, ld, from + d * kTile + i, kTile, kSide, high);
        continue;
      }
      transpose_square(square, kSide, from + d * kTile + i, kTile, wide, high);
      for (i64 r = 0; r < high; r++) store(out + r * ld, load(square + r * kSide, wide), wide);
    }
}

// Rows copied one after another, each to a whole vec with zeros.
template <class T>
void load_rows(T* to, const T* from, i64 ld, i64 rows, i64 columns) {
  const i64 ldto = round_up(columns, vec<T>::size);
  for (i64 r = 0; r < rows; r++)
    each_vec<T>(0, columns, [&](i64 d, auto lanes) { store(to + r * ldto + d, load(from + r * ld + d, lanes)); });
}

// Lanes in which the query i is before the key j.
template <class T>
CHAINRULE_INLINE mask<T> before(i64 i, i64 j) {
  using I = typename int_of<T>::type;
  constexpr I lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(lanes) < vec<I>(I(j - i));
}

// e^x for x that are hardly above 0: as exp(), but 0 where that is denormal, which saves a step of the scaling.
template <class T>
CHAINRULE_INLINE vec<T> exp_of_score(vec<T> x) {
  constexpr T kLeast = sizeof(T) == 4 ? T(-87.3) : T(-708.3);
  const ExpParts<T> e = exp_parts(max(vec<T>(kLeast), min(vec<T>(ExpRange<T>::most), x)));
  return select<T>(x < kLeast, vec<T>(0), (e.tail + T(1)) * power_of_two(e.n));
}

}  // namespace chainrule::CHAINRULE_ISA
