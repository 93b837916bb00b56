// Rows of a table. weight (rows, width), index (count,) in [0, rows):
//   embedding            y[i] = weight[index[i]]
//   embedding_backward   dweight[r] = Σ dy[i] over the i with index[i] = r, added in ascending i; 0 for padding_idx
// Bindings have checked the indices. The table's size tells recordings whether products of its rows pay (fuse.h). A
// thread owns a range of the table's rows and looks at every index.
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void embedding(Team& team, T* y, const T* weight, const i64* index, i64 count, i64 /*rows*/, i64 width) {
  parallel_for(team, count, at_least<i64>(1, kFlatGrain / at_least<i64>(1, width)), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++)
      each_vec<T>(0, width, [&](i64 j, auto lanes) {
        store(y + i * width + j, load(weight + index[i] * width + j, lanes), lanes);
      });
  });
}

template <class T>
void embedding_backward(Team& team, T* dweight, const T* dy, const i64* index, i64 count, i64 rows, i64 width,
                        i64 padding_idx) {
  constexpr i64 kRanges = 8;  // each costs one look at all indices
  parallel_for(team, rows, ceil_div(rows, kRanges), [&](i64 begin, i64 end) {
    each_vec<T>(begin * width, end * width, [&](i64 j, auto lanes) { store(dweight + j, vec<T>(T(0)), lanes); });
    for (i64 i = 0; i < count; i++) {
      const i64 row = index[i];
      if (row < begin || row >= end || row == padding_idx) continue;
      each_vec<T>(0, width, [&](i64 j, auto lanes) {
        T* const to = dweight + row * width + j;
        store(to, load(to, lanes) + load(dy + i * width + j, lanes), lanes);
      });
    }
  });
}

INSTANTIATE(embedding)
INSTANTIATE(embedding_backward)

}  // namespace chainrule::CHAINRULE_ISA
