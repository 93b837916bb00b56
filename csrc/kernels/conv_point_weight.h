// The weight gradient of one tap of planes: for each image a product of rows of planes, as they lie, with the other
// operand's planes, transposed block by block (gemm.h). Rows are those of the side with more channels, since each of
// them uses what is transposed.
//
// Images are parts, or, where there are few, equal runs of their positions. Parts are cut into chunks by the shape
// alone: a chunk's sums are added up part after part and block after block of kBlockK positions, and the chunks' sums
// in ascending order (docs/numerics.md).
#pragma once
#include "conv_arrays.h"
#include "conv_sizes.h"
#include "gemm.h"

namespace chainrule::CHAINRULE_ISA {

// A rule of the shape without the batch, because dot products add in other orders: they take less where vecs have empty
// lanes, or where few rows use what is transposed. Their time by this one's, 16 images of 28 x 28: 24 channels to 96
// 0.8, 40 to 160 0.9, 48 to 128 1.1, 128 to 512 1.2; of 14 x 14: 24 to 144 0.9, 40 to 40 1.25; one of 112 x 112, 64 to
// 64 0.9.
template <class T>
CHAINRULE_INLINE bool worth_points(const Conv2d& conv, const Sizes& s) {
  constexpr i64 kSmallPlane = 256, kPlane = 1024, kColumns = 32, kManyColumns = 48, kManyRows = 96;
  const i64 columns = at_most(s.in, s.out), rows = at_least(s.in, s.out);
  if (!pointwise(conv) || !planar(conv) || columns < kColumns) return false;
  if (s.size <= kSmallPlane) return true;
  return columns >= kManyColumns && columns * 8 >= round_up(columns, i64(vec<T>::size)) * 7 &&
         (rows >= kManyRows || s.size <= kPlane);
}

template <class T>
struct PointGradientCut {
  bool turned;               // the rows are x's channels, the columns dy's
  i64 rows, columns;         // of a group's sums
  i64 positions, of_plane;   // of a part; parts
  i64 parts, chunk, chunks;  // parts; of a chunk; chunks
  i64 partial;               // a chunk's sums
  Grid grid;                 // of a group's sums
  bool apart;                // sums go to scratch
  bool far;                  // the images lie beyond the L2

  PointGradientCut(const Conv2d& conv, const Sizes& s) {
    constexpr i64 kChunks = 16, kPartials = i64(1) << 22, kNear = i64(1) << 20, kLeastRun = 1024;
    turned = s.in > s.out;
    rows = at_least(s.in, s.out), columns = at_most(s.in, s.out);
    partial = s.groups * rows * columns;
    of_plane = at_most(ceil_div(s.size, kLeastRun), kChunks / at_least(i64(1), conv.batch));
    positions = ceil_div(s.size, at_least(i64(1), of_plane));
    of_plane = ceil_div(s.size, at_least(i64(1), positions)), parts = conv.batch * of_plane;
    const Chunks cut = chunks_of(parts, at_most(kChunks, kPartials / at_least(i64(1), partial)));
    chunk = cut.size, chunks = cut.count;
    grid = grid_of<T>(chunks * s.groups, rows, columns, at_most(positions, kSpanK));
    far = s.products * (rows + columns) * s.size * i64(sizeof(T)) > kNear;
    apart = turned || chunks > 1 || parts == 0;
  }
  CHAINRULE_INLINE i64 partials() const { return apart ? round_up(chunks * partial, vec<T>::size) : 0; }
  CHAINRULE_INLINE i64 scratch(i64 threads) const { return partials() + threads * thread_scratch<T>(grid); }
};

// dw[o][c] of all groups from sums[c][o] of `chunks` chunks, by all threads. The first chunk's sums are overwritten.
template <class T>
CHAINRULE_INLINE void add_turned(Team& team, T* dw, T* sums, i64 chunks, const Sizes& s, i64 partial) {
  constexpr i64 square = kSquare<T>;
  const i64 bands = ceil_div(s.in, square);
  parallel_for(team, s.groups * bands, ceil_div(kFlatGrain, square * s.out * at_least(i64(1), chunks)),
               [&](i64 begin, i64 end) {
                 for (i64 i = begin; i < end; i++) {
                   const i64 group = i / bands, c = i % bands * square, rows = at_most(square, s.in - c);
                   T* const band = sums + (group * s.in + c) * s.out;
                   each_vec<T>(0, rows * s.out, [&](i64 j, auto lanes) {
                     vec<T> total(0);
                     for (i64 chunk = 0; chunk < chunks; chunk++)
                       total = total + load(band + chunk * partial + j, lanes);
                     store(band + j, total, lanes);
                   });
                   T* const to = dw + group * s.out * s.in + c;
                   for (i64 o = 0; o < s.out; o += square)
                     transpose_part(to + o * s.in, s.in, band + o, s.out, rows, at_most(square, s.out - o));
                 }
               });
}

template <class T>
void point_gradient(Team& team, T* dw, const T* dy, const T* x, const Conv2d& conv, const Sizes& s, T* scratch) {
  const PointGradientCut<T> cut(conv, s);
  const Grid& grid = cut.grid;
  T* const own = scratch + cut.partials() + team.rank() * thread_scratch<T>(grid);
  T* const sums = cut.apart ? scratch : dw;
  const i64 tasks = grid.row_chunks * grid.column_chunks, items = s.groups * tasks;
  Kept<T>* const none = nullptr;
  parallel_for(team, cut.chunks * items, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 chunk = i / items, group = i % items / tasks, first = chunk * cut.chunk;
      const Part at = part_of<T>(grid, i % tasks);
      T* const to = sums + chunk * cut.partial + (group * cut.rows + at.row) * cut.columns + at.column;
      for (i64 p = first; p < at_most(cut.parts, first + cut.chunk); p++) {
        const i64 product = p / cut.of_plane * s.groups + group, begin = p % cut.of_plane * cut.positions;
        const T *const seen = x + s.x_at(product) + begin, *const gradient = dy + s.y_at(product) + begin;
        const PlainRows<T> a{cut.turned ? seen : gradient, s.size};
        const TransposedColumns<T> b{cut.turned ? gradient : seen, s.size};
        const i64 end = at_most(cut.positions, s.size - begin);
        for (i64 k = 0; k < end; k += kSpanK)
          multiply_part(to, cut.columns, p > first || k > 0, at, k, at_most(end, k + kSpanK), a, b, own,
                        Ahead<T>{cut.far, false, nullptr}, none);
      }
    }
  });
  if (!cut.apart) return;
  team.barrier();
  const i64 chunks = cut.parts > 0 ? cut.chunks : 0;
  if (cut.turned)
    add_turned(team, dw, sums, chunks, s, cut.partial);
  else
    add_partials(team, dw, sums, chunks, cut.partial);
}

}  // namespace chainrule::CHAINRULE_ISA
