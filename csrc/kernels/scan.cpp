// Running sums. x, y (outer, n, inner):
//   cumsum   y[o, i, j] = x[o, 0, j] + ... + x[o, i, j], added in that order
// A chunk is some columns of one `outer`, or some rows where inner is 1.
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void cumsum(Team& team, T* y, const T* x, i64 outer, i64 n, i64 inner) {
  if (inner == 1) {
    parallel_for(team, outer, at_least<i64>(1, kFlatGrain / at_least<i64>(1, n)), [&](i64 begin, i64 end) {
      for (i64 o = begin; o < end; o++) {
        T sum = 0;
        for (i64 i = 0; i < n; i++) y[o * n + i] = sum = i ? sum + x[o * n + i] : x[o * n];
      }
    });
    return;
  }
  constexpr i64 kColumns = 4 * vec<T>::size;
  const i64 pieces = ceil_div(inner, kColumns);
  parallel_for(team, outer * pieces, at_least<i64>(1, kFlatGrain / (at_least<i64>(1, n) * kColumns)),
               [&](i64 begin, i64 end) {
                 for (i64 c = begin; c < end; c++) {
                   const i64 o = c / pieces, from = c % pieces * kColumns, to = at_most(inner, from + kColumns);
                   for (i64 i = 0; i < n; i++) {
                     T* const out = y + (o * n + i) * inner;
                     const T* const in = x + (o * n + i) * inner;
                     each_vec<T>(from, to, [&](i64 j, auto lanes) {
                       const vec<T> v = load(in + j, lanes);
                       store(out + j, i ? load(out - inner + j, lanes) + v : v, lanes);
                     });
                   }
                 }
               });
}

INSTANTIATE(cumsum)

}  // namespace chainrule::CHAINRULE_ISA
