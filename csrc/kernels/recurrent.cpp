// LSTM over steps t, the input's part x_t = input_t W_ih^T + biases given; gates are quarters i, f, g, o of 4 hidden:
//   lstm            z_t = x_t + h_{t-1} W^T      i, f, o = sigmoid(z), g = tanh(z)
//                   c_t = f c_{t-1} + i g        h_t = o tanh(c_t)
//   lstm_backward   dh_t = dout_t + dx_{t+1} W   dc_t = dc_{t+1} f_{t+1} + dh_t o (1 - tanh(c_t)^2)      (t backwards)
//                   dx_t = (dc g i (1 - i), dc c_{t-1} f (1 - f), dc i (1 - g^2), dh tanh(c) o (1 - o))
//                   dh0 = dx_0 W, dc0 = dc_0 f_0; dhn and dcn are added at the last step
// x, dx, gates (steps, batch, 4 hidden), W (4 hidden, hidden), out (h), cells (c), dout (steps, batch, hidden), h0, c0,
// dh0, dc0, dhn, dcn (batch, hidden). gates (after their functions) and cells are saved. With `reverse`, t runs from
// the last step to the first. With `index` (steps, batch), x_t is rows index[t] of x, whose rows are as many as are
// used. The other gradients are products over all steps at once: dW = dx^T h_{t-1}, and x's linear.
#include "recurrent.h"

#include "kernels.h"
#include "vmath.h"

namespace chainrule::CHAINRULE_ISA {
namespace {

template <class T>
constexpr i64 kUnits = vec<T>::size;  // of one item forward: their four gates lie side by side
template <class T>
constexpr i64 kFourGates = 4 * kUnits<T>;

template <class T>
Plan forward_plan(const Recurrence& r, i64 threads) {
  return plan_of(r, r.hidden, ceil_div(r.hidden, kUnits<T>), 4 * r.hidden * r.hidden * i64(sizeof(T)), threads);
}
template <class T>
Plan backward_plan(const Recurrence& r, i64 threads) {
  return plan_of(r, 4 * r.hidden, ceil_div(r.hidden, kPanel<T>), 4 * r.hidden * r.hidden * i64(sizeof(T)), threads);
}

// Scratch, in order: weights, two states, the threads' z, and with `carry` the gradient of c between steps.
template <class T>
struct Scratch {
  i64 panel, state, z, carry, end;
  Scratch(const Plan& p, i64 units, i64 hidden, i64 threads) {
    panel = p.depth * units;
    state = p.panels * panel;
    z = state + 2 * State<T>::size(p);
    carry = z + threads * p.block_tiles * p.height * units;
    end = carry + round_up(p.batch * hidden, vec<T>::size);
  }
};

// Rows gate * hidden + [unit, unit + kUnits) of W, transposed: (depth, gate, unit).
template <class T>
void pack_gates(T* packed, const T* w, i64 hidden, i64 unit) {
  const i64 units = at_most(kUnits<T>, hidden - unit);
  for (i64 gate = 0; gate < 4; gate++)
    for (i64 j = 0; j < kUnits<T>; j += kSquare<T>)
      for (i64 k = 0; k < hidden; k += kSquare<T>)
        transpose_square(packed + k * kFourGates<T> + gate * kUnits<T> + j, kFourGates<T>,
                         w + (gate * hidden + unit + j) * hidden + k, hidden,
                         at_least(i64(0), at_most(i64(kSquare<T>), units - j)), at_most(i64(kSquare<T>), hidden - k));
}

// The step of the sequence that the n-th of the recurrence is.
CHAINRULE_INLINE i64 step_at(const Recurrence& r, i64 n) { return r.reverse ? r.steps - 1 - n : n; }

// Of one step, the parts of row `row` and units [unit, unit + lanes).
template <class T>
struct ForwardStep {
  T *out, *cells, *gates;
  const T* x;
  const i64* index;  // of x's rows; null: they are in order
  const T* before;   // c_{t-1}
  i64 hidden;

  CHAINRULE_INLINE const T* input(i64 row, i64 unit) const {
    return x + 4 * hidden * (index ? index[row] : row) + unit;
  }
  CHAINRULE_INLINE void prefetch(i64 row, i64 unit) const {
    const T* const from = input(row, unit);
    for (i64 q = 0; q < 4; q++) __builtin_prefetch(from + q * hidden);
    __builtin_prefetch(before + row * hidden + unit);
  }
  template <class L>
  CHAINRULE_INLINE void cell(const T* z, i64 row, i64 unit, L lanes) const {
    const i64 at = row * hidden + unit, quarter = 4 * row * hidden + unit;
    const T* const from = input(row, unit);
    vec<T> gate[4];
    for (int q = 0; q < 4; q++) gate[q] = load(z + q * kUnits<T>) + load(from + q * hidden, lanes);
    const vec<T> i = sigmoid(gate[0]), f = sigmoid(gate[1]), g = tanh(gate[2]), o = sigmoid(gate[3]);
    const vec<T> c = fma(f, load(before + at, lanes), i * g);
    store(gates + quarter, i, lanes);
    store(gates + quarter + hidden, f, lanes);
    store(gates + quarter + 2 * hidden, g, lanes);
    store(gates + quarter + 3 * hidden, o, lanes);
    store(cells + at, c, lanes);
  }
  // Apart from cell(), so that a row needn't wait for both of its functions that follow each other.
  template <class L>
  CHAINRULE_INLINE vec<T> output(i64 row, i64 unit, L lanes) const {
    const i64 at = row * hidden + unit;
    const vec<T> h = load(gates + 4 * row * hidden + 3 * hidden + unit, lanes) * tanh(load(cells + at, lanes));
    store(out + at, h, lanes);
    return h;
  }
};

// dx of the same, to `next` too, the state of the step that follows; carry is dc on the way through the steps.
template <class T>
struct BackwardStep {
  T *dx, *carry;
  const T *dout, *dhn, *dcn, *gates, *cells, *before;  // dout may be null; dhn, dcn too: not the last step, or zero
  i64 hidden;
  bool last;

  CHAINRULE_INLINE void prefetch(i64 row, i64 unit) const {
    const i64 at = row * hidden + unit;
    for (i64 q = 0; q < 4; q++) __builtin_prefetch(gates + 3 * row * hidden + at + q * hidden);
    if (dout) __builtin_prefetch(dout + at);
    __builtin_prefetch(cells + at);
    __builtin_prefetch(before + at);
  }
  template <class L>
  CHAINRULE_INLINE void operator()(vec<T> dh, const State<T>& next, i64 row, i64 unit, L lanes) const {
    const i64 at = row * hidden + unit, quarter = 4 * row * hidden + unit;
    if (dout) dh = dh + load(dout + at, lanes);
    if (dhn) dh = dh + load(dhn + at, lanes);
    const vec<T> one(1), c = tanh(load(cells + at, lanes));
    const vec<T> i = load(gates + quarter, lanes), f = load(gates + quarter + hidden, lanes);
    const vec<T> g = load(gates + quarter + 2 * hidden, lanes), o = load(gates + quarter + 3 * hidden, lanes);
    vec<T> dc = dh * o * fma(-c, c, one);
    if (!last) dc = dc + load(carry + at, lanes);
    if (dcn) dc = dc + load(dcn + at, lanes);
    store(carry + at, dc * f, lanes);
    const vec<T> dz[4] = {dc * g * (i * (one - i)), dc * load(before + at, lanes) * (f * (one - f)),
                          dc * i * fma(-g, g, one), dh * c * (o * (one - o))};
    for (int q = 0; q < 4; q++) {
      store(dx + quarter + q * hidden, dz[q], lanes);
      next.put(row, q * hidden + unit, dz[q], lanes);
    }
  }
};

}  // namespace

template <class T>
i64 lstm_scratch(const Recurrence& r, i64 threads) {
  return Scratch<T>(forward_plan<T>(r, threads), kFourGates<T>, 0, threads).end;
}

template <class T>
void lstm(Team& team, T* out, T* cells, T* gates, const T* x, const i64* index, const T* w, const T* h0, const T* c0,
          const Recurrence& r, T* scratch) {
  const Plan p = forward_plan<T>(r, team.size());
  const Scratch<T> s(p, kFourGates<T>, 0, team.size());
  const State<T> states[2] = {{scratch + s.state, p.height, p.depth_blocks},
                              {scratch + s.state + State<T>::size(p), p.height, p.depth_blocks}};
  T* const z = scratch + s.z + team.rank() * p.block_tiles * p.height * kFourGates<T>;
  parallel_for(team, p.panels, 1, [&](i64 begin, i64 end) {
    for (i64 panel = begin; panel < end; panel++) pack_gates(scratch + panel * s.panel, w, r.hidden, panel * kUnits<T>);
  });
  team.barrier();
  const i64 width = r.batch * r.hidden;
  each_step(
      team, p, r.steps, [&](i64 row) { states[0].put_row(row, h0 + row * r.hidden, r.hidden); },
      [&](i64 n, i64 row_block, i64 panel) {
        const i64 t = step_at(r, n);
        const T* const before = n == 0 ? c0 : cells + step_at(r, n - 1) * width;
        const ForwardStep<T> step{out + t * width,
                                  cells + t * width,
                                  gates + 4 * t * width,
                                  index ? x : x + 4 * t * width,
                                  index ? index + t * r.batch : nullptr,
                                  before,
                                  r.hidden};
        const State<T>& next = states[(n + 1) % 2];
        const i64 first = row_block * p.block_tiles * p.height, unit = panel * kUnits<T>;
        const i64 last = at_most(p.batch, first + p.block_tiles * p.height);
        state_product(z, p, states[n % 2], row_block, scratch + panel * s.panel, kFourGates<T>,
                      [&](i64 row) { step.prefetch(row, unit); });
        each_vec<T>(unit, at_most(r.hidden, unit + kUnits<T>), [&](i64 u, auto lanes) {
          for (i64 row = first; row < last; row++) step.cell(z + (row - first) * kFourGates<T>, row, u, lanes);
          for (i64 row = first; row < last; row++) next.put(row, u, step.output(row, u, lanes), lanes);
        });
      });
}

template <class T>
i64 lstm_backward_scratch(const Recurrence& r, i64 threads) {
  return Scratch<T>(backward_plan<T>(r, threads), kPanel<T>, r.hidden, threads).end;
}

template <class T>
void lstm_backward(Team& team, T* dx, T* dh0, T* dc0, const T* dout, const T* dhn, const T* dcn, const T* gates,
                   const T* cells, const T* c0, const T* w, const Recurrence& r, T* scratch) {
  const Plan p = backward_plan<T>(r, team.size());
  const Scratch<T> s(p, kPanel<T>, r.hidden, team.size());
  const State<T> states[2] = {{scratch + s.state, p.height, p.depth_blocks},
                              {scratch + s.state + State<T>::size(p), p.height, p.depth_blocks}};
  T* const z = scratch + s.z + team.rank() * p.block_tiles * p.height * kPanel<T>;
  parallel_for(team, p.panels, 1, [&](i64 begin, i64 end) {
    for (i64 panel = begin; panel < end; panel++) {
      const i64 column = panel * kPanel<T>;
      i64 stride;
      PlainColumns<T>{w, r.hidden, false}.panel(scratch + panel * s.panel, column,
                                                at_most(kPanel<T>, r.hidden - column), 0, p.depth, &stride);
    }
  });
  team.barrier();
  const i64 width = r.batch * r.hidden;
  // Step n, from the last on; one more makes dh0 and dc0.
  each_step(
      team, p, r.steps + 1, [](i64) {},
      [&](i64 n, i64 row_block, i64 panel) {
        const i64 t = n < r.steps ? step_at(r, r.steps - 1 - n) : 0;
        const T* const before = n + 1 < r.steps ? cells + step_at(r, r.steps - 2 - n) * width : c0;
        T* const carry = scratch + s.carry;
        const BackwardStep<T> step{dx + 4 * t * width,
                                   carry,
                                   dout ? dout + t * width : nullptr,
                                   n == 0 ? dhn : nullptr,
                                   n == 0 ? dcn : nullptr,
                                   gates + 4 * t * width,
                                   cells + t * width,
                                   before,
                                   r.hidden,
                                   n == 0};
        const i64 first = row_block * p.block_tiles * p.height, unit = panel * kPanel<T>;
        const i64 last = at_most(p.batch, first + p.block_tiles * p.height);
        const i64 end = at_most(r.hidden, unit + kPanel<T>);
        if (n > 0)
          state_product(z, p, states[n % 2], row_block, scratch + panel * s.panel, kPanel<T>, [&](i64 row) {
            for (i64 u = unit; u < end && n < r.steps; u += vec<T>::size) step.prefetch(row, u);
          });
        each_vec<T>(unit, end, [&](i64 u, auto lanes) {
          for (i64 row = first; row < last; row++) {
            const vec<T> dh = n > 0 ? load(z + (row - first) * kPanel<T> + u - unit) : vec<T>(0);
            if (n < r.steps) {
              step(dh, states[(n + 1) % 2], row, u, lanes);
              continue;
            }
            const i64 at = row * r.hidden + u;
            store(dh0 + at, dh, lanes);
            store(dc0 + at, load(carry + at, lanes), lanes);
          }
        });
      });
}

INSTANTIATE(lstm_scratch)
INSTANTIATE(lstm)
INSTANTIATE(lstm_backward_scratch)
INSTANTIATE(lstm_backward)

}  // namespace chainrule::CHAINRULE_ISA
