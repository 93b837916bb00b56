// Products of matrices, C = A B, in three pieces that fit together: sources (how A and B are packed: sources.h), the
// block (loops over K, rows and panels around the register tile of microkernel.h), and the epilogue (what becomes of a
// finished sum). Few rows, or columns, go without packing: thin.h.
//
// An epilogue is called once for every finished part of a row band of C, by the thread that made it:
//     void operator()(T* c, i64 ldc, i64 row, i64 rows, i64 column, i64 columns) const
// where c points to element (row, column) and holds the sums, to be turned into the result in place.
//
// The order of the sums is fixed by K alone (kBlockK, kSpanK: docs/numerics.md): everything here may be tuned freely.
#pragma once
#include "grid.h"

namespace chainrule::CHAINRULE_ISA {

struct NoEpilogue {
  template <class T>
  CHAINRULE_INLINE void operator()(T*, i64, i64, i64, i64, i64) const {}
};
template <class Epilogue>
constexpr bool kChanges = true;
template <>
inline constexpr bool kChanges<NoEpilogue> = false;

// What is called for a band of rows when its sums are complete. A pointer, not a template's argument: products that
// differ in their epilogue alone share multiply_part, which is large.
template <class T>
struct Finish {
  void (*call)(const void* closure, T* c, i64 row, i64 rows) = nullptr;  // null: nothing is to be done
  const void* closure = nullptr;
  CHAINRULE_INLINE void operator()(T* c, i64 row, i64 rows) const {
    if (call) call(closure, c, row, rows);
  }
};

// What a part's products send for on the way (microkernel.h). Near operands are not sent for: it would take a little
// longer.
template <class T>
struct Ahead {
  bool far = false;          // what is multiplied lies beyond the L2
  bool far_c = false;        // so does what is written
  const T* after = nullptr;  // B's first row of the part that this thread multiplies next; null: who knows
};

// The columns of B that a thread has packed, all of K, for the parts below the one that it packed them for: what they
// begin with, and how many.
template <class T>
struct Kept {
  const T* first = nullptr;
  i64 columns = 0;
};

// A part's tiles and panels, and a block of K that they are packed for: to `packing`, or there already.
template <class T>
struct KBlock {
  Part at;
  i64 tiles, panels;
  i64 k, depth;
  T *tile, *packing;
  bool packed;
  Ahead<T> ahead;
  // Tiles of equal height: a short last one would keep too few accumulators busy.
  CHAINRULE_INLINE i64 row(i64 tile) const { return tile * at.rows / tiles; }
  CHAINRULE_INLINE i64 columns(i64 panel) const { return at_most(kPanel<T>, at.columns - panel * kPanel<T>); }
  CHAINRULE_INLINE T* panel(i64 p) const { return packing + p * kPanel<T> * depth; }
};

// Sends for a panel's share of the rows of A that are read next: the next tile's, or those of the next block.
template <class T, class A>
CHAINRULE_INLINE void send_for_next(const A& a, const KBlock<T>& block, i64 tile, i64 panel, i64 end) {
  if (!block.ahead.far) return;
  const bool below = tile + 1 < block.tiles;
  const i64 k = below ? block.k : block.k + block.depth;
  if (k >= end) return;
  const i64 first = below ? block.row(tile + 1) : 0, rows = block.row(below ? tile + 2 : 1) - first;
  const i64 begin = panel * rows / block.panels, last = (panel + 1) * rows / block.panels;
  send_for(a, block.at.row + first + begin, last - begin, k, at_most(kBlockK, end - k));
}

// The i-th column of cache lines of what the thread multiplies after this block: the next block of A and B, or, where K
// ends here, the first of B's next part. Without an address: there is none.
template <class T, class A, class B>
CHAINRULE_INLINE Lines next_lines(const A& a, const B& b, const KBlock<T>& block, i64 i, i64 end) {
  constexpr i64 line = 64 / sizeof(T);
  const auto lines = [&](const T* first, i64 ld, i64 width) {
    if (!first || i >= ceil_div(width, line)) return Lines{};
    return Lines{reinterpret_cast<const char*>(first + i * line) + 63, ld * i64(sizeof(T))};
  };
  const i64 k = block.k + block.depth, depth = at_most(kBlockK, end - k);
  const Part& at = block.at;
  if (!block.ahead.far) return {};
  if (k == end) return lines(block.ahead.after, b.ld, b.width(at.columns, block.depth));
  if constexpr (kSends<A>) {
    const i64 width = a.width(at.rows, depth), columns = ceil_div(width, line);
    if (i < columns) return lines(a.first(at.row, k), a.ld, width);
    i -= columns;
  }
  return lines(b.first(at.column, k), b.ld, b.width(at.columns, depth));
}

// c = or += the product over one block of K; the last block ends at `end`.
template <class T, class A, class B>
CHAINRULE_INLINE void multiply_block(T* c, i64 ldc, bool add, const KBlock<T>& block, i64 end, const A& a, const B& b,
                                     Finish<T> finish) {
  constexpr i64 kMostPanels = ceil_div(kMostColumns + kNarrowColumns<T>, kPanel<T>);
  const Part& at = block.at;
  const i64 k = block.k, depth = block.depth;
  const T* panel[kMostPanels];
  i64 stride[kMostPanels];
  i64 passed = block.packed ? block.panels : 0;  // panels that the first tile packs, or that are packed
  if constexpr (kPassable<B>)
    if (block.tiles > 1 && !b.direct) passed = at.columns / kPanel<T>;
  for (i64 p = 0; p < passed; p++) panel[p] = block.panel(p), stride[p] = kPanel<T>;
  // A strip of all panels at a time: a panel's rows alone would be a cache line or two from each page.
  constexpr i64 strip = kStrip<B>;
  for (i64 s = 0; s < depth; s += strip)
    for (i64 p = passed; p < block.panels; p++) {
      const T* const part = b.panel(block.panel(p) + s * kPanel<T>, at.column + p * kPanel<T>, block.columns(p), k + s,
                                    at_most(strip, depth - s), &stride[p]);
      if (s == 0) panel[p] = part;
    }
  [[maybe_unused]] i64 sent = 0;  // columns of lines
  for (i64 t = 0; t < block.tiles; t++) {
    const i64 first = block.row(t), rows = block.row(t + 1) - first, row = at.row + first;
    T* const band = c + first * ldc;
    bool passes = false;  // the first panel sums, or packs, this tile
    if constexpr (kPassable<A>)
      passes = block.tiles > 1 && (t > 0 || passed == 0) && at.columns >= kPanel<T> && a.size - row >= A::kReads;
    const auto tile = [&] {
      if constexpr (kPassable<A>)
        if (passes) return a.passed_tile(block.tile, row, k);
      return a.tile(block.tile, row, rows, k, depth);
    }();
    for (i64 p = 0; p < block.panels; p++) {
      send_for_next(a, block, t, p, end);
      T* const to = band + p * kPanel<T>;
      if (block.ahead.far_c && !add) send_for_tile<T, kTileVecs>(to, ldc, rows);
      if constexpr (kPassable<B>)
        if (t == 0 && p < passed) {
          const PassedRows<T> from{b.data + k * b.ld + at.column + p * kPanel<T>, b.ld, block.panel(p)};
          passing_product(to, ldc, rows, add, tile, from, depth);
          continue;
        }
      if constexpr (kPassable<A>)
        if (p == 0 && passes) {
          passing_product(to, ldc, rows, add, a.passed(block.tile, row, k), EvenRows<T>{panel[p], stride[p]}, depth);
          continue;
        }
      if constexpr (kSends<B>) {
        const Lines next = next_lines(a, b, block, sent, end);
        if (next.at) {
          const Lines second = next_lines(a, b, block, sent + 1, end);
          sent += 2;
          tile_of<T, kTileRows, kTileVecs>(to, ldc, rows, block.columns(p), add, tile,
                                           SendingRows<T>{panel[p], stride[p], {next, second.at ? second : next}},
                                           depth);
          continue;
        }
      }
      tile_product(to, ldc, rows, block.columns(p), add, tile, panel[p], stride[p], depth);
    }
    if (k + depth == end) finish(band, row, rows);
  }
}

// c (at the part's first element) = or += the product over k in [begin, end), at most one span. scratch:
// kSmallScratch, then the panels. kept: what of B is in there (and, afterwards, will be); null: it has no room for all
// of K.
template <class T, class A, class B>
CHAINRULE_OUT_OF_LINE void multiply_part(T* c, i64 ldc, bool add, Part at, i64 begin, i64 end, const A& a, const B& b,
                                         T* scratch, Ahead<T> ahead, Kept<T>* kept, Finish<T> finish = {}) {
  const A source = for_columns(a, at.column);
  if constexpr (kThin<A, B>)
    if (at.rows <= kThinRows) {
      thin_product(c, ldc, add, at.rows, at.columns, a.data + at.row * a.ld, a.ld, b, at.column, begin, end);
      return finish(c, at.row, at.rows);
    }
  if constexpr (kShallow<A, B>)
    if (end - begin <= kShallowTerms && !has_sums(source)) {
      shallow_product(c, ldc, add, at.rows, at.columns, a, at.row, b, at.column, begin, end);
      return finish(c, at.row, at.rows);
    }
  // All columns, where they are few, or those that are left beyond whole vecs. Sums ride with whole ones.
  if constexpr (kNarrow<A, B>) {
    const i64 few = at.columns % vec<T>::size, whole = at.columns - few;
    if (few > 0 && few <= kNarrowColumns<T> && at.rows >= kSquare<T> && !(whole == 0 && has_sums(source))) {
      narrow_product(c + whole, ldc, add, at.rows, few, a, at.row, b, at.column + whole, begin, end, scratch);
      if (whole == 0) return finish(c, at.row, at.rows);
      at.columns = whole;
    }
  }
  const i64 tiles = ceil_div(at.rows, i64(kTileRows)), panels = ceil_div(at.columns, kPanel<T>);
  T* packing = scratch + kSmallScratch<T>;
  bool packed = false;
  if constexpr (kKeeps<B>)
    if (kept) {
      const Kept<T> these{b.first(at.column, begin), at.columns};
      packed = kept->first == these.first && kept->columns == these.columns;
      *kept = these;
    }
  for (i64 k = begin; k < end; k += kBlockK, add = true) {
    const i64 depth = at_most(kBlockK, end - k);
    multiply_block(c, ldc, add, KBlock<T>{at, tiles, panels, k, depth, scratch, packing, packed, ahead}, end, source, b,
                   finish);
    if (kept) packing += panels * kPanel<T> * depth;
  }
}

// to[r][j] = or += from[r][j].
template <class T>
CHAINRULE_INLINE void add_part(T* to, i64 ldto, const T* from, i64 ldfrom, i64 rows, i64 columns, bool add) {
  for (i64 r = 0; r < rows; r++, to += ldto, from += ldfrom)
    for (i64 j = 0; j < columns; j += vec<T>::size) {
      const vec<T> x = load(from + j, columns - j);
      store(to + j, add ? load(to + j, columns - j) + x : x, columns - j);
    }
}

// One part of C, whole: all of K, then the epilogue. With `add`, C's old value is the first term: of the sum of blocks
// where K is one span, else of the sum of spans. scratch: thread_scratch() elements.
template <class T, class A, class B, class Epilogue>
CHAINRULE_INLINE void product_part(T* c, i64 ldc, bool add, Part at, i64 k, const A& a, const B& b,
                                   const Epilogue& epilogue, T* scratch, Ahead<T> ahead, Kept<T>* kept) {
  const auto whole = [&](T* band, i64 row, i64 rows) { epilogue(band, ldc, row, rows, at.column, at.columns); };
  Finish<T> finish;
  if constexpr (kChanges<Epilogue>)
    finish = {[](const void* f, T* band, i64 row, i64 rows) { (*static_cast<decltype(&whole)>(f))(band, row, rows); },
              &whole};
  if (k == 0) {
    for (i64 r = 0; r < at.rows && !add; r++)
      for (i64 j = 0; j < at.columns; j += vec<T>::size) store(c + r * ldc + j, vec<T>(0), at.columns - j);
    return finish(c, at.row, at.rows);
  }
  if (k <= kSpanK) return multiply_part(c, ldc, add, at, 0, k, a, b, scratch, ahead, kept, finish);
  const i64 first = add ? 0 : kSpanK;
  const Ahead<T> between{ahead.far, ahead.far_c};
  Kept<T>* const none = nullptr;
  if (!add) multiply_part(c, ldc, false, at, 0, first, a, b, scratch, between, none);
  T* const span = scratch + kBlockK * round_up(at.columns, kPanel<T>) + kSmallScratch<T>;
  for (i64 begin = first; begin < k; begin += kSpanK) {
    const i64 end = at_most(k, begin + kSpanK);
    multiply_part(span, at.columns, false, at, begin, end, a, b, scratch, end == k ? ahead : between, none);
    add_part(c, ldc, span, at.columns, at.rows, at.columns, true);
  }
  finish(c, at.row, at.rows);
}

// One product of a batch: C (m x n, rows ldc apart), its sources, its epilogue.
template <class T, class A, class B, class Epilogue>
struct Product {
  T* c;
  i64 ldc;
  bool add;
  A a;
  B b;
  Epilogue epilogue;
};
template <class T, class A, class B, class Epilogue>
CHAINRULE_INLINE Product<T, A, B, Epilogue> product_of(T* c, i64 ldc, bool add, A a, B b, Epilogue epilogue) {
  return {c, ldc, add, a, b, epilogue};
}

// All products of a batch, shared by the team; make(batch) gives the Product. No barrier at the end.
// scratch: products_scratch() elements.
template <class T, class Make>
CHAINRULE_INLINE void products(Team& team, i64 batches, const Grid& g, T* scratch, Make&& make) {
  constexpr i64 kSmallChunk = i64(1) << 15, kNear = i64(1) << 20;
  const bool far = batches * (g.m + g.n) * g.k * i64(sizeof(T)) > kNear;
  const bool far_c = batches * g.m * g.n * i64(sizeof(T)) > kNear;
  const i64 chunks = g.row_chunks * g.column_chunks;
  const i64 spans = g.split ? g.spans : 1;
  T* const own = scratch + team.rank() * thread_scratch<T>(g);
  T* const partials = scratch + team.size() * thread_scratch<T>(g);
  Kept<T> last, *const kept = g.keeps ? &last : nullptr;
  const i64 grain =
      at_least(i64(1), kSmallChunk / at_least(i64(1), at_least(g.rows, kThinCost) * g.widest * at_most(g.k, kSpanK)));
  parallel_for(team, batches * chunks * spans, g.split ? 1 : grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 batch = i / (chunks * spans), span = i / chunks % spans, chunk = i % chunks;
      const auto p = make(batch);
      const Part at = part_of<T>(g, chunk);
      Ahead<T> ahead{far, far_c, nullptr};
      if (!g.split) {
        if constexpr (kSends<decltype(p.b)>)
          if (far && i + 1 < batches * chunks) {
            const auto q = make((i + 1) / chunks);
            const T* const after = q.b.first(part_of<T>(g, (i + 1) % chunks).column, 0);
            ahead.after = after != p.b.first(at.column, 0) ? after : nullptr;
          }
        product_part(p.c + at.row * p.ldc + at.column, p.ldc, p.add, at, g.k, p.a, p.b, p.epilogue, own, ahead, kept);
        continue;
      }
      T* const to = partials + ((batch * spans + span) * g.m + at.row) * g.n + at.column;
      multiply_part(to, g.n, false, at, span * kSpanK, at_most(g.k, (span + 1) * kSpanK), p.a, p.b, own, ahead, kept);
    }
  });
  if (!g.split) return;
  team.barrier();
  parallel_for(team, batches * g.m, ceil_div(kFlatGrain, g.n * spans), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const auto p = make(i / g.m);
      const i64 row = i % g.m;
      T* const c = p.c + row * p.ldc;
      for (i64 span = 0; span < spans; span++)
        add_part(c, p.ldc, partials + ((i / g.m * spans + span) * g.m + row) * g.n, g.n, 1, g.n, p.add || span > 0);
      p.epilogue(c, p.ldc, row, 1, 0, g.n);
    }
  });
}

}  // namespace chainrule::CHAINRULE_ISA
