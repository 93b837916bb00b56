// conv2d_backward_weight: dw[o, c, ky, kx] = sum over n, v, u of dy[n, o, v, u] x[n, c, iy, ix], as in conv.cpp.
#include "conv_sizes.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// The weight gradient is computed transposed, (in * taps) x out per group: patches are then rows that lie along k.
template <class T>
struct ToWeights {
  T* dw;
  i64 ld;
  void operator()(T* c, i64 ldc, i64 row, i64 rows, i64 column, i64 columns) const {
    for (i64 j = 0; j < columns; j++)
      for (i64 r = 0; r < rows; r++) dw[(column + j) * ld + row + r] = c[r * ldc + j];
  }
};

// Images per partial sum of the depthwise weight gradient.
CHAINRULE_INLINE i64 images_per_sum(const Sizes& s) { return ceil_div(i64(1) << 14, at_least(i64(1), s.size)); }

template <class T>
void depthwise_weights(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* partials) {
  const Sizes s = sizes_of(conv);
  const View view = view_of(conv.window);
  const i64 images = images_per_sum(s), sums = ceil_div(conv.batch, images);
  parallel_for(team, sums * conv.cout, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 o = i % conv.cout, first = i / conv.cout * images;
      depthwise_weight(partials + i * s.taps, dy + o * s.size, conv.cout * s.size, x + o / s.out * s.image,
                       conv.cin * s.image, first, at_most(conv.batch, first + images), view);
    }
  });
  team.barrier();
  parallel_for(team, conv.cout * s.taps, kFlatGrain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      T total = 0;
      for (i64 part = 0; part < sums; part++) total += partials[part * conv.cout * s.taps + i];
      dw[i] = total;
    }
  });
}

template <class T>
Grid weight_grid(const Conv2d& conv, const Sizes& s) {
  return grid_of<T>(conv.groups, s.in * s.taps, s.out, conv.batch * s.size);
}

}  // namespace

template <class T>
i64 conv2d_backward_weight_scratch(const Conv2d& conv, i64 threads) {
  const Sizes s = sizes_of(conv);
  if (s.in == 1 && worth_direct(s.out, 1)) return ceil_div(conv.batch, images_per_sum(s)) * conv.cout * s.taps;
  const Grid grid = weight_grid<T>(conv, s);
  return threads * round_up(grid.m * grid.n, vec<T>::size) + products_scratch<T>(conv.groups, grid, threads);
}

template <class T>
void conv2d_backward_weight(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, T* scratch) {
  const Sizes s = sizes_of(conv);
  if (s.in == 1 && worth_direct(s.out, 1)) return depthwise_weights(team, dw, dy, x, conv, scratch);
  const Grid grid = weight_grid<T>(conv, s);
  const View view = view_of(conv.window);
  const i64 room = round_up(grid.m * grid.n, vec<T>::size);
  T* const own = scratch + team.rank() * room;
  products<T>(team, conv.groups, grid, scratch + team.size() * room, [&](i64 group) {
    return product_of(own, grid.n, false, PatchRows<T>{x + group * s.in * s.image, conv.cin * s.image, view},
                      ChannelColumns<T>{dy + group * s.out * s.size, conv.cout * s.size, s.size},
                      ToWeights<T>{dw + group * s.out * grid.m, grid.m});
  });
}

INSTANTIATE(conv2d_backward_weight)
INSTANTIATE(conv2d_backward_weight_scratch)

}  // namespace chainrule::CHAINRULE_ISA
