// Scaled dot-product attention, one head at a time; i runs over queries, j over keys, which causal stops at i:
//   x_ij = scale q_i . k_j          lse_i = log Σ_j exp(x_ij)          p_ij = exp(x_ij - lse_i)
//   attention            out_i = Σ_j p_ij v_j; without keys 0, and lse -inf
//   attention_backward   dx_ij = p_ij (dout_i . v_j - dout_i . out_i)
//                        dq_i = scale Σ_j dx_ij k_j    dk_j = scale Σ_i dx_ij q_i    dv_j = Σ_i p_ij dout_i
// q (batch, heads, queries, depth), k (batch, heads, keys, depth), v (batch, heads, keys, width), out as q with width.
// out and lse (batch, heads, queries) are saved. There is never more of x than a block (attention.h): forward keeps the
// running maximum m and sum l of each query (Milakov and Gimelshein 2018), backward computes p again.
#include "attention.h"

#include "kernels.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

constexpr i64 kBlockSize = kTile * kTile;

template <class T>
CHAINRULE_INLINE T* head_of(T* data, const HeadStrides& s, const Attention& a, i64 head) {
  return data + head / a.heads * s.batch + head % a.heads * s.head;
}

template <class T>
CHAINRULE_INLINE void fill(T* to, i64 n, T value) {
  each_vec<T>(0, n, [&](i64 i, auto lanes) { store(to + i, vec<T>(value), lanes); });
}
template <class T>
CHAINRULE_INLINE void clear_rows(T* to, i64 ld, i64 rows, i64 columns) {
  for (i64 r = 0; r < rows; r++) fill(to + r * ld, columns, T(0));
}

// Blocks of queries or keys in a chunk of a loop over them, each of which meets `others`.
CHAINRULE_INLINE i64 blocks_in_chunk(const Attention& a, i64 others) {
  constexpr i64 kChunk = i64(1) << 19;  // products: 5 to 10 us
  return at_least(i64(1), kChunk / (kTile * at_least(i64(1), at_most(others, kChunk)) * (a.depth + a.width)));
}

// Whether the heads lie beyond the L2, so that each is to be sent for.
template <class T>
bool lies_far(const Attention& a) {
  constexpr double kNear = 1 << 20;
  return double(a.batch * a.heads) * double(a.queries + a.keys) * double(a.depth + a.width) * sizeof(T) > kNear;
}

// A thread's scratch, forward: queries and results of a block as columns, its scores, each query's m and l.
template <class T>
struct Forward {
  T *qt, *ot, *x, *m, *l, *tile;
  static i64 size(const Attention& a) { return (a.depth + a.width + 2) * kTile + kBlockSize + kTileSize<T>; }
  Forward(T* p, const Attention& a)
      : qt(p), ot(qt + a.depth * kTile), x(ot + a.width * kTile), m(x + kBlockSize), l(m + kTile), tile(l + kTile) {}
};

// Turns the dot products of queries [begin, end) with the block's first keys into p = exp(x - m), m the new maximum, to
// which l and the results so far are brought.
template <class T>
void soften(const Forward<T>& f, i64 width, bool diagonal, T scale, i64 begin, i64 end, i64 keys) {
  for (i64 i = begin; i < end; i += vec<T>::size) {
    T* const x = f.x + i;
    const vec<T> old = load(f.m + i);
    vec<T> m = old, total(0);
    for (i64 j = 0; j < keys; j++) {
      vec<T> s = load(x + j * kTile) * scale;
      if (diagonal) s = select<T>(before<T>(i, j), vec<T>(-Float<T>::inf), s);
      store(x + j * kTile, s);
      m = max(m, s);
    }
    for (i64 j = 0; j < keys; j++) {
      const vec<T> p = exp_of_score(load(x + j * kTile) - m);
      store(x + j * kTile, p);
      total = total + p;
    }
    const vec<T> shrink = exp_of_score(old - m);
    store(f.m + i, m);
    store(f.l + i, fma(load(f.l + i), shrink, total));
    for (i64 d = 0; d < width; d++) store(f.ot + d * kTile + i, load(f.ot + d * kTile + i) * shrink);
  }
}

// A thread's scratch, backward. Of a block of queries: q and dout as columns and as rows, dq as columns, lse and
// dout . out. Of a block of scores: p and dx.
template <class T>
struct Backward {
  i64 q_row, dout_row;
  T *qt, *dt, *q, *dout, *dqt, *lse, *delta, *p, *dx, *tile;
  static i64 size(const Attention& a) {
    const i64 rows = round_up(a.depth, vec<T>::size) + round_up(a.width, vec<T>::size);
    return (2 * a.depth + a.width + rows + 2) * kTile + 2 * kBlockSize + kTileSize<T>;
  }
  Backward(T* s, const Attention& a)
      : q_row(round_up(a.depth, vec<T>::size)),
        dout_row(round_up(a.width, vec<T>::size)),
        qt(s),
        dt(qt + a.depth * kTile),
        q(dt + a.width * kTile),
        dout(q + q_row * kTile),
        dqt(dout + dout_row * kTile),
        lse(dqt + a.depth * kTile),
        delta(lse + kTile),
        p(delta + kTile),
        dx(p + kBlockSize),
        tile(dx + kBlockSize) {}
};

// The arrays of one head, backward.
template <class T>
struct Head {
  T *dq, *dk, *dv;
  const T *dout, *q, *k, *v, *out, *lse;
};

template <class T>
void load_queries(const Backward<T>& s, const Attention& a, const Head<T>& h, i64 query) {
  const i64 rows = queries_at(a, query);
  const T *const q = h.q + query * a.q.row, *const dout = h.dout + query * a.dout.row;
  const T* const out = h.out + query * a.out.row;
  load_transposed(s.qt, q, a.q.row, rows, a.depth);
  load_transposed(s.dt, dout, a.dout.row, rows, a.width);
  load_rows(s.q, q, a.q.row, rows, a.depth);
  load_rows(s.dout, dout, a.dout.row, rows, a.width);
  fill(s.delta, kTile, T(0));
  fill(s.lse, kTile, T(0));
  for (i64 i = 0; i < rows; i++) {
    s.lse[i] = h.lse[query + i];
    s.delta[i] = reduce_long_row<Add<T>, T>(a.width, [&](i64 d, auto lanes) {
      return load(dout + i * a.dout.row + d, lanes) * load(out + i * a.out.row + d, lanes);
    });
  }
}

// p and scale dx of a block, whose queries are loaded.
template <class T>
void load_block(const Backward<T>& s, const Attention& a, const Head<T>& h, const Block& b, i64 key, T scale,
                Coming<T>& next) {
  dot_products(s.p, b, h.k + key * a.k.row, a.k.row, s.qt, a.depth, s.tile, next);
  dot_products(s.dx, b, h.v + key * a.v.row, a.v.row, s.dt, a.width, s.tile, next);
  each_query_group(b, [&](i64 begin, i64 end, i64 keys) {
    for (i64 i = begin; i < end; i += vec<T>::size) {
      const vec<T> lse = load(s.lse + i), delta = load(s.delta + i);
      for (i64 j = 0; j < keys; j++) {
        T *const at_p = s.p + j * kTile + i, *const at_dx = s.dx + j * kTile + i;
        vec<T> p = exp_of_score(load(at_p) * scale - lse);
        if (b.diagonal) p = select<T>(before<T>(i, j), vec<T>(0), p);
        store(at_p, p);
        store(at_dx, p * (load(at_dx) - delta) * scale);
      }
    }
  });
}

template <class T>
void add_to_dq(const Backward<T>& s, const Attention& a, const Head<T>& h, const Block& b, i64 key, Coming<T>& next) {
  each_query_group(b, [&](i64 begin, i64 end, i64 keys) {
    block_product(s.dqt + begin, kTile, a.depth, round_up(end - begin, vec<T>::size), true,
                  InColumns<T>{h.k + key * a.k.row, a.k.row}, s.dx + begin, kTile, keys, next);
  });
}

template <class T>
void add_to_dk_dv(const Backward<T>& s, const Attention& a, const Head<T>& h, const Block& b, i64 key,
                  Coming<T>& next) {
  each_key_group(b, [&](i64 begin, i64 end, i64 from) {
    const i64 row = key + begin, count = end - begin, queries = b.queries - from;
    block_product(h.dv + row * a.dv.row, a.dv.row, count, a.width, true, InRows<T>{s.p + begin * kTile + from, kTile},
                  s.dout + from * s.dout_row, s.dout_row, queries, next);
    block_product(h.dk + row * a.dk.row, a.dk.row, count, a.depth, true, InRows<T>{s.dx + begin * kTile + from, kTile},
                  s.q + from * s.q_row, s.q_row, queries, next);
  });
}

// What the block of queries at `at` reads and writes first, of the keys those at the same place.
template <class T>
Coming<T> coming(const Attention& a, const Head<T>& h, i64 at) {
  const i64 queries = queries_at(a, at), keys = keys_at(a, at);
  Coming<T> c;
  c.add(h.dv, a.dv.row, a.width, at, keys);
  c.add(h.dk, a.dk.row, a.depth, at, keys);
  c.add(h.dq, a.dq.row, a.depth, at, queries);
  c.add(h.v, a.v.row, a.width, at, keys);
  c.add(h.k, a.k.row, a.depth, at, keys);
  c.add(h.out, a.out.row, a.width, at, queries);
  c.add(h.dout, a.dout.row, a.width, at, queries);
  c.add(h.q, a.q.row, a.depth, at, queries);
  return c;
}

// One block of queries with all its keys: dq, and with `all` its part of dk and dv. `next` is sent for on the way.
template <class T>
void query_pass(const Backward<T>& s, const Attention& a, const Head<T>& h, i64 query, T scale, bool all,
                Coming<T> next) {
  load_queries(s, a, h, query);
  fill(s.dqt, a.depth * kTile, T(0));
  for (i64 key = 0; key < keys_end(a, query); key = tile_end(a, key)) {
    const Block b = block_at(a, query, key);
    load_block(s, a, h, b, key, scale, next);
    add_to_dq(s, a, h, b, key, next);
    if (all) add_to_dk_dv(s, a, h, b, key, next);
  }
  store_transposed(h.dq + query * a.dq.row, a.dq.row, s.dqt, queries_at(a, query), a.depth);
}

// One block of keys with all its queries: dk and dv.
template <class T>
void key_pass(const Backward<T>& s, const Attention& a, const Head<T>& h, i64 key, T scale) {
  const i64 rows = keys_at(a, key);
  clear_rows(h.dk + key * a.dk.row, a.dk.row, rows, a.depth);
  clear_rows(h.dv + key * a.dv.row, a.dv.row, rows, a.width);
  for (i64 query = a.causal ? key : 0; query < a.queries; query = tile_end(a, query)) {
    const Block b = block_at(a, query, key);
    Coming<T> none;
    load_queries(s, a, h, query);
    load_block(s, a, h, b, key, scale, none);
    add_to_dk_dv(s, a, h, b, key, none);
  }
}

// Whether heads are the backward's chunks: five products for each block. Else blocks of queries and blocks of keys are:
// seven products, more chunks. Both add in the same order.
bool by_head(const Attention& a, i64 threads) {
  constexpr double kLongest = 2e9;  // products in a chunk: 50 ms
  const double work = 2.5 * double(a.queries) * double(a.keys) * double(a.depth + a.width);
  const i64 heads = a.batch * a.heads;
  return work < kLongest && 5 * ceil_div(heads, threads) * threads <= 7 * heads;
}

}  // namespace

template <class T>
i64 attention_scratch(const Attention& a, i64 threads) {
  return threads * Forward<T>::size(a);
}

template <class T>
void attention(Team& team, T* out, T* lse, const T* q, const T* k, const T* v, const Attention& a, T scale,
               T* scratch) {
  const Forward<T> f(scratch + team.rank() * Forward<T>::size(a), a);
  const i64 blocks = tiles_of(a, a.queries), total = a.batch * a.heads * blocks;
  const bool far = lies_far<T>(a);
  parallel_for(team, total, blocks_in_chunk(a, a.keys), [&](i64 first, i64 last) {
    for (i64 n = first; n < last; n++) {
      const i64 head = n / blocks, query = tile_begin(a, n % blocks), rows = queries_at(a, query);
      const T *const keys = head_of(k, a.k, a, head), *const values = head_of(v, a.v, a, head);
      Coming<T> next;
      if (far && n + 1 < total) {
        const i64 other = (n + 1) / blocks, at = tile_begin(a, (n + 1) % blocks);
        next.add(head_of(out, a.out, a, other), a.out.row, a.width, at, queries_at(a, at));
        next.add(head_of(v, a.v, a, other), a.v.row, a.width, at, keys_at(a, at));
        next.add(head_of(k, a.k, a, other), a.k.row, a.depth, at, keys_at(a, at));
        next.add(head_of(q, a.q, a, other), a.q.row, a.depth, at, queries_at(a, at));
      }
      load_transposed(f.qt, head_of(q, a.q, a, head) + query * a.q.row, a.q.row, rows, a.depth);
      fill(f.ot, a.width * kTile, T(0));
      fill(f.m, kTile, T(-Float<T>::inf));
      fill(f.l, kTile, T(0));
      for (i64 key = 0; key < keys_end(a, query); key = tile_end(a, key)) {
        const Block b = block_at(a, query, key);
        dot_products(f.x, b, keys + key * a.k.row, a.k.row, f.qt, a.depth, f.tile, next);
        each_query_group(b, [&](i64 begin, i64 end, i64 seen) {
          soften(f, a.width, b.diagonal, scale, begin, end, seen);
          block_product(f.ot + begin, kTile, a.width, round_up(end - begin, vec<T>::size), true,
                        InColumns<T>{values + key * a.v.row, a.v.row}, f.x + begin, kTile, seen, next);
        });
      }
      each_vec<T>(0, rows, [&](i64 i, auto lanes) {
        const vec<T> l = load(f.l + i);
        const vec<T> inverse = select<T>(l == T(0), vec<T>(0), T(1) / l);
        for (i64 d = 0; d < a.width; d++) store(f.ot + d * kTile + i, load(f.ot + d * kTile + i) * inverse);
        store(lse + head * a.queries + query + i, load(f.m + i) + log(l), lanes);
      });
      store_transposed(head_of(out, a.out, a, head) + query * a.out.row, a.out.row, f.ot, rows, a.width);
    }
  });
}

template <class T>
i64 attention_backward_scratch(const Attention& a, i64 threads) {
  return threads * Backward<T>::size(a);
}

template <class T>
void attention_backward(Team& team, T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v,
                        const T* out, const T* lse, const Attention& a, T scale, T* scratch) {
  const Backward<T> s(scratch + team.rank() * Backward<T>::size(a), a);
  const i64 heads = a.batch * a.heads, query_blocks = tiles_of(a, a.queries), key_blocks = tiles_of(a, a.keys);
  const auto head = [&](i64 n) {
    return Head<T>{head_of(dq, a.dq, a, n),     head_of(dk, a.dk, a, n),   head_of(dv, a.dv, a, n),
                   head_of(dout, a.dout, a, n), head_of(q, a.q, a, n),     head_of(k, a.k, a, n),
                   head_of(v, a.v, a, n),       head_of(out, a.out, a, n), lse + n * a.queries};
  };
  if (by_head(a, team.size())) {
    const bool far = lies_far<T>(a);
    const i64 grain = at_least(i64(1), blocks_in_chunk(a, a.keys) / at_least(i64(1), query_blocks));
    parallel_for(team, heads, grain, [&](i64 first, i64 last) {
      for (i64 n = first; n < last; n++) {
        const Head<T> h = head(n);
        clear_rows(h.dk, a.dk.row, a.keys, a.depth);
        clear_rows(h.dv, a.dv.row, a.keys, a.width);
        for (i64 query = 0, end; query < a.queries; query = end) {
          end = tile_end(a, query);
          Coming<T> next;
          if (far && end < a.queries)
            next = coming(a, h, end);
          else if (far && n + 1 < heads)
            next = coming(a, head(n + 1), 0);
          query_pass(s, a, h, query, scale, true, next);
        }
      }
    });
    return;
  }
  parallel_for(team, heads * query_blocks, blocks_in_chunk(a, a.keys), [&](i64 first, i64 last) {
    for (i64 n = first; n < last; n++)
      query_pass(s, a, head(n / query_blocks), tile_begin(a, n % query_blocks), scale, false, Coming<T>{});
  });
  parallel_for(team, heads * key_blocks, blocks_in_chunk(a, a.queries), [&](i64 first, i64 last) {
    for (i64 n = first; n < last; n++) key_pass(s, a, head(n / key_blocks), tile_begin(a, n % key_blocks), scale);
  });
}

INSTANTIATE(attention_scratch)
INSTANTIATE(attention)
INSTANTIATE(attention_backward_scratch)
INSTANTIATE(attention_backward)

}  // namespace chainrule::CHAINRULE_ISA
