// Batch norm of x (batch, channels, space): each channel is normalised over the m = batch * space others. mean and rstd
// = 1 / sqrt(var + eps) are saved; h = (x - mean) rstd; weight and bias may be null (1 and 0).
//   y = f(z + residual), z = h weight + bias; residual may be null
//   training: mean and var are the batch's, and the running ones move towards mean and v = var m / (m - 1):
//             running_mean = (1 - momentum) running_mean + momentum mean, running_var likewise with v
//             dx = weight rstd (dz - Σ dz / m - h Σ dz h / m)
//   else:     mean and var are the running ones
//             dx = weight rstd dz
//   dweight = Σ dz h;   dbias = Σ dz
//   dz = dy f'(z), f none or relu and without a residual: z is made again, from x by the forward pass's operations
// residual lies as x does, dy too; y may be the memory of x or of the residual, dx that of dy. dx, dweight, dbias may
// be null where they aren't wanted. With space = 1, x is a matrix: of samples, or of the pixels of channels_last
// images.
#pragma once
#include "activation.h"
#include "rows.h"

namespace chainrule::CHAINRULE_ISA {

constexpr i64 kTaskElements = 8192;
// Of a matrix: rows of a task, whose result is one of the partial ones; elements of each_block().
constexpr i64 kTaskRows = 1024, kBlockElements = 2048;
template <class T>
constexpr i64 kStripColumns = 4 * vec<T>::size;  // columns of a task

CHAINRULE_INLINE i64 per_task(i64 n) { return at_least<i64>(1, kTaskElements / at_least<i64>(1, n)); }

// body(part, first row, end row, first column, end column) for each part of a matrix.
template <class T, class F>
CHAINRULE_INLINE void each_part(Team& team, i64 rows, i64 columns, F&& body) {
  const i64 strips = ceil_div(columns, kStripColumns<T>);
  const i64 work = at_most(rows, kTaskRows) * at_most(columns, kStripColumns<T>);
  parallel_for(team, ceil_div(rows, kTaskRows) * strips, per_task(work), [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; t++) {
      const i64 part = t / strips, row = part * kTaskRows, column = t % strips * kStripColumns<T>;
      body(part, row, at_most(rows, row + kTaskRows), column, at_most(columns, column + kStripColumns<T>));
    }
  });
}

// body(first element, channel) for each plane.
template <class F>
CHAINRULE_INLINE void each_plane(Team& team, i64 batch, i64 channels, i64 space, F&& body) {
  parallel_for(team, batch * channels, per_task(space), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) body(i * space, i % channels);
  });
}
// body(first element, rows) for each block of a matrix: few rows, so that they are read as one stream, but more than
// one, so that what belongs to a column is loaded once for them.
template <class F>
CHAINRULE_INLINE void each_block(Team& team, i64 rows, i64 columns, F&& body) {
  const i64 most = at_least<i64>(1, kBlockElements / at_least<i64>(1, columns));
  parallel_for(team, ceil_div(rows, most), per_task(most * columns), [&](i64 begin, i64 end) {
    for (i64 r = begin * most; r < at_most(rows, end * most); r += most) body(r * columns, at_most(most, rows - r));
  });
}

}  // namespace chainrule::CHAINRULE_ISA
