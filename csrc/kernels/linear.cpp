// linear:          z = x W^T + bias + residual, y = f(z).  x (m, k), W (n, k), bias (n) or null; y, z, residual (m, n),
//                  z and residual or null.
// linear_backward: dz = dy f'(z)                from dy and `saved` (y or z: activation.h); dz = dy without activation
//                  dx = dz W, dW = dz^T x, dbias = the sum of dz's rows; each or null. dW and dbias may add to what is
//                  there: dW first of all, dbias last. With an activation that made x: dx = (dz W) f'(input_saved).
#include "epilogue.h"
#include "gemm.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// The grid of x W^T or dz W, for m rows. A line that another core has read takes 6 ns to write, 27 where the cores
// share no L3 (Zen 4; 0.7 for a line of one's own), and all of a weight is written in each step. So a thread reads its
// own part of it only: of its rows forward, as the optimizer shares them out, of its columns backward. Not for many
// rows, where products take longer than updates, nor for a small weight: each row of C has a border, whose lines are
// shared.
template <class T>
Grid weight_grid(i64 m, i64 n, i64 k) {
  constexpr i64 kFewRows = 256, kBorder = 256;
  const Grid g = grid_of<T>(1, m, n, k);
  return m <= kFewRows && n * k >= kBorder * m ? by_columns(g) : g;
}
template <class T>
Grid forward_grid(i64 m, i64 n, i64 k) {
  return keeping(weight_grid<T>(m, n, k));
}

// linear_backward's scratch, in order: the sums of spans of dz's rows, dz if there is an activation, the products'.
template <class T>
struct BackwardScratch {
  Grid dx, dw;
  bool own_dz;                       // each thread has one of its own
  i64 dz, dx_products, dw_products;  // where each begins
  i64 end;
};

// Both products read all of dz. A line of it that another core has written takes 11 ns to come, or more, one that is
// computed here 2: a small dz is computed by each thread, which saves the barrier, too.
template <class T>
CHAINRULE_INLINE bool cheap_for_each(i64 size) {
  constexpr i64 kNearBytes = 128 * 1024;
  return size * i64(sizeof(T)) <= kNearBytes;
}

template <class T>
BackwardScratch<T> backward_scratch(i64 m, i64 n, i64 k, bool activation, i64 threads) {
  BackwardScratch<T> s{weight_grid<T>(m, k, n), grid_of<T>(1, n, k, m), cheap_for_each<T>(m * n), 0, 0, 0, 0};
  s.dz = round_up(s.dw.spans * n, vec<T>::size);
  s.dx_products = s.dz + (activation ? (s.own_dz ? threads : 1) * round_up(m * n, vec<T>::size) : 0);
  s.dw_products = s.dx_products + round_up(products_scratch<T>(1, s.dx, threads), vec<T>::size);
  s.end = s.dw_products + products_scratch<T>(1, s.dw, threads);
  return s;
}

// dz = dy f'(z), element by element.
template <class T>
void differentiate(T* dz, const T* dy, const T* saved, i64 begin, i64 end, Activation activation) {
  by_activation(activation, [&](auto kind) {
    each_vec<T>(begin, end, [&](i64 i, auto lanes) {
      store(dz + i, activate_backward<decltype(kind)::value>(load(dy + i, lanes), load(saved + i, lanes)), lanes);
    });
  });
}

// dbias without dW: blocks of rows are summed, spans of blocks, then the spans.
template <class T>
void sum_rows(Team& team, T* db, bool add, const T* dz, i64 m, i64 n) {
  parallel_for(team, n, 2 * vec<T>::size, [&](i64 from, i64 to) {
    each_vec<T>(from, to, [&](i64 j, auto lanes) {
      vec<T> total(0), span(0);
      for (i64 begin = 0; begin < m; begin += kBlockK) {
        vec<T> block(0);
        for (i64 i = begin; i < at_most(m, begin + kBlockK); i++) block = block + load(dz + i * n + j, lanes);
        span = begin % kSpanK ? span + block : block;
        const i64 end = begin + kBlockK;
        if (end >= m || end % kSpanK == 0) total = begin < kSpanK ? span : total + span;
      }
      store(db + j, add ? load(db + j, lanes) + total : total, lanes);
    });
  });
}

template <class T>
void add_spans(Team& team, T* db, bool add, const T* sums, i64 spans, i64 n) {
  parallel_for(team, n, kFlatGrain / 16, [&](i64 begin, i64 end) {
    each_vec<T>(begin, end, [&](i64 j, auto lanes) {
      vec<T> total = load(sums + j, lanes);
      for (i64 s = 1; s < spans; s++) total = total + load(sums + s * n + j, lanes);
      store(db + j, add ? load(db + j, lanes) + total : total, lanes);
    });
  });
}

}  // namespace

template <class T>
i64 linear_scratch(i64 m, i64 n, i64 k, i64 threads) {
  return products_scratch<T>(1, forward_grid<T>(m, n, k), threads);
}

template <class T>
void linear(Team& team, T* y, T* z, const T* x, const T* w, const T* bias, const T* residual, i64 m, i64 n, i64 k,
            Activation activation, T* scratch) {
  products<T>(team, 1, forward_grid<T>(m, n, k), scratch, [&](i64) {
    return product_of(y, n, false, PlainRows<T>{x, k}, TransposedColumns<T>{w, k},
                      ColumnEpilogue<T>{{bias, activation, y, residual, z}});
  });
}

template <class T>
i64 linear_backward_scratch(i64 m, i64 n, i64 k, bool activation, i64 threads) {
  return backward_scratch<T>(m, n, k, activation, threads).end;
}

template <class T>
void linear_backward(Team& team, T* dx, T* dw, T* db, const T* dy, const T* x, const T* w, const T* saved, i64 m, i64 n,
                     i64 k, Activation activation, bool add_dw, bool add_db, const T* input_saved,
                     Activation input_activation, T* scratch) {
  const bool active = activation != Activation::none;
  const auto s = backward_scratch<T>(m, n, k, active, team.size());
  const T* dz = dy;
  if (active) {
    T* const to = scratch + s.dz + (s.own_dz ? team.rank() * round_up(m * n, vec<T>::size) : 0);
    if (s.own_dz) {
      differentiate(to, dy, saved, 0, m * n, activation);
    } else {
      parallel_for(team, m * n, kFlatGrain,
                   [&](i64 begin, i64 end) { differentiate(to, dy, saved, begin, end, activation); });
      team.barrier();
    }
    dz = to;
  }
  // dW's product sums dz's rows on the way, but for those of few terms, which don't pack them. Straight into dbias,
  // unless spans are to be added, or more than a block to what is there: that comes last.
  const bool ride = db && dw && m > kShallowTerms && n > 0 && k > 0;
  const bool straight = s.dw.spans == 1 && !(add_db && m > kBlockK);
  T* const sums = ride ? straight ? db : scratch : nullptr;
  if (db && !ride) sum_rows(team, db, add_db, dz, m, n);
  if (dx)
    products<T>(team, 1, s.dx, scratch + s.dx_products, [&](i64) {
      return product_of(dx, k, false, PlainRows<T>{dz, n}, PlainColumns<T>{w, k, worth_reading_direct<T>(s.dx, k)},
                        SlopeEpilogue<T>{dx, input_saved, input_activation});
    });
  if (dw)
    products<T>(team, 1, s.dw, scratch + s.dw_products, [&](i64) {
      return product_of(dw, k, add_dw, TransposedRows<T>{dz, n, n, sums, straight && add_db},
                        PlainColumns<T>{x, k, worth_reading_direct<T>(s.dw, k)}, NoEpilogue{});
    });
  if (ride && !straight) {
    team.barrier();
    add_spans(team, db, add_db, sums, s.dw.spans, n);
  }
}

INSTANTIATE(linear_scratch)
INSTANTIATE(linear)
INSTANTIATE(linear_backward_scratch)
INSTANTIATE(linear_backward)

}  // namespace chainrule::CHAINRULE_ISA
