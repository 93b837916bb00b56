// linear:          z = x W^T + bias + residual, y = f(z).  x (m, k), W (n, k), bias (n) or null; y, z, residual (m, n),
//                  z and residual or null.
// linear_backward: dz = dy f'(z)                from dy and `saved` (y or z: activation.h); dz = dy without activation
//                  dx = dz W, dW = dz^T x, dbias = the sum of dz's rows; each or null. dW and dbias may add to what is
//                  there: dW first of all, dbias last.
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
  Grid g = grid_of<T>(1, m, n, k);
  g.by_columns = m <= kFewRows && n * k >= kBorder * m;
  return g;
}

// linear_backward's scratch, in order.
template <class T>
struct BackwardScratch {
  Grid dx, dw;
  i64 row_blocks;
  i64 dz, sums, dx_products, dw_products;  // where each begins
  i64 end;
};

template <class T>
BackwardScratch<T> backward_scratch(i64 m, i64 n, i64 k, bool activation, i64 threads) {
  BackwardScratch<T> s{weight_grid<T>(m, k, n), grid_of<T>(1, n, k, m), ceil_div(m, kBlockK), 0, 0, 0, 0, 0};
  s.sums = activation ? round_up(m * n, vec<T>::size) : 0;
  s.dx_products = s.sums + round_up(s.row_blocks * n, vec<T>::size);
  s.dw_products = s.dx_products + round_up(products_scratch<T>(1, s.dx, threads), vec<T>::size);
  s.end = s.dw_products + products_scratch<T>(1, s.dw, threads);
  return s;
}

// Of Rows rows of n columns, `row` apart: dz (but for Activation::none), and what is added to sum (or null); `first`:
// to nothing yet.
template <Activation A, int Rows, class T>
CHAINRULE_INLINE void differentiate_rows(T* dz, T* sum, bool first, const T* dy, const T* saved, i64 row, i64 n) {
  each_vec<T>(0, n, [&](i64 j, auto lanes) {
    vec<T> total = sum && !first ? load(sum + j, lanes) : vec<T>(0);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) {
      vec<T> g = load(dy + r * row + j, lanes);
      if constexpr (A != Activation::none) {
        g = activate_backward<A>(g, load(saved + r * row + j, lanes));
        store(dz + r * row + j, g, lanes);
      }
      total = total + g;
    }
    if (sum) store(sum + j, total, lanes);
  });
}

// One pass over dy: dz (or null), and the sum of each block of kBlockK rows (or null). Rows are read as they lie, some
// at a time: their sums so far wait in the L1.
template <class T>
void differentiate(Team& team, T* dz, T* sums, const T* dy, const T* saved, i64 m, i64 n, Activation activation) {
  constexpr i64 kWidth = 1024 / sizeof(T);
  if (m == 0 || n == 0) return;
  // Strips of a block are few where rows are short: some for each thread, but of two vecs at least.
  const i64 strips = at_least(ceil_div(n, kWidth),
                              at_most(ceil_div(n, 2 * i64(vec<T>::size)), ceil_div(i64(4), ceil_div(m, kBlockK))));
  const i64 width = round_up(ceil_div(n, strips), vec<T>::size), across = ceil_div(n, width);
  const i64 height = sums ? kBlockK : ceil_div(2 * kFlatGrain, width);
  parallel_for(team, ceil_div(m, height) * across, 1, [&](i64 begin, i64 end) {
    for (i64 chunk = begin; chunk < end; chunk++) {
      const i64 block = chunk / across, first = block * height, last = at_most(m, first + height);
      const i64 from = chunk % across * width, columns = at_most(width, n - from);
      T* const sum = sums ? sums + block * n + from : nullptr;
      by_activation(activation, [&](auto kind) {
        constexpr Activation A = decltype(kind)::value;
        // The others take longer than their rows' sums.
        constexpr bool cheap = A == Activation::none || A == Activation::relu || A == Activation::leaky_relu;
        constexpr int kRows = cheap ? 4 : 1;
        for (i64 i = first; i < last;) {
          const i64 at = i * n + from;
          if (i + kRows <= last)
            differentiate_rows<A, kRows>(dz + at, sum, i == first, dy + at, saved + at, n, columns), i += kRows;
          else
            differentiate_rows<A, 1>(dz + at, sum, i == first, dy + at, saved + at, n, columns), i++;
        }
      });
    }
  });
}

// The blocks' sums in the order of a product over m: spans of blocks, then the spans.
template <class T>
void add_blocks(Team& team, T* db, bool add, const T* sums, i64 blocks, i64 n) {
  constexpr i64 kSpanBlocks = kSpanK / kBlockK;
  parallel_for(team, n, kFlatGrain / 16, [&](i64 begin, i64 end) {
    for (i64 j = begin; j < end; j += vec<T>::size) {
      const i64 lanes = at_most(end - j, i64(vec<T>::size));
      vec<T> total(0);
      for (i64 first = 0; first < blocks; first += kSpanBlocks) {
        vec<T> span = load(sums + first * n + j, lanes);
        for (i64 b = first + 1; b < at_most(blocks, first + kSpanBlocks); b++)
          span = span + load(sums + b * n + j, lanes);
        total = first ? total + span : span;
      }
      store(db + j, add ? load(db + j, lanes) + total : total, lanes);
    }
  });
}

}  // namespace

template <class T>
i64 linear_scratch(i64 m, i64 n, i64 k, i64 threads) {
  return products_scratch<T>(1, weight_grid<T>(m, n, k), threads);
}

template <class T>
void linear(Team& team, T* y, T* z, const T* x, const T* w, const T* bias, const T* residual, i64 m, i64 n, i64 k,
            Activation activation, T* scratch) {
  products<T>(team, 1, weight_grid<T>(m, n, k), scratch, [&](i64) {
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
                     i64 k, Activation activation, bool add_dw, bool add_db, T* scratch) {
  const bool active = activation != Activation::none;
  const auto s = backward_scratch<T>(m, n, k, active, team.size());
  const T* dz = dy;
  if (active || db) {
    differentiate(team, scratch, db ? scratch + s.sums : nullptr, dy, saved, m, n, activation);
    team.barrier();
    if (active) dz = scratch;
  }
  if (db) add_blocks(team, db, add_db, scratch + s.sums, s.row_blocks, n);
  if (dx)
    products<T>(team, 1, s.dx, scratch + s.dx_products, [&](i64) {
      return product_of(dx, k, false, PlainRows<T>{dz, n}, PlainColumns<T>{w, k, worth_reading_direct<T>(s.dx, k)},
                        NoEpilogue{});
    });
  if (dw)
    products<T>(team, 1, s.dw, scratch + s.dw_products, [&](i64) {
      return product_of(dw, k, add_dw, TransposedRows<T>{dz, n, n},
                        PlainColumns<T>{x, k, worth_reading_direct<T>(s.dw, k)}, NoEpilogue{});
    });
}

INSTANTIATE(linear_scratch)
INSTANTIATE(linear)
INSTANTIATE(linear_backward_scratch)
INSTANTIATE(linear_backward)

}  // namespace chainrule::CHAINRULE_ISA
