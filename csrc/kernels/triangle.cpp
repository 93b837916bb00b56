// Triangles of matrices (batch, rows, columns): zeros elsewhere.
//   tril   y[b, r, c] = x[b, r, c] where c <= r + diagonal
//   triu   y[b, r, c] = x[b, r, c] where c >= r + diagonal
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Of each row the columns [from(r), to(r)) are kept, held to [0, columns].
template <class From, class To>
CHAINRULE_INLINE void keep(Team& team, void* y, const void* x, i64 batch, i64 rows, i64 columns, i64 item, From&& from,
                           To&& to) {
  const i64 bytes = columns * item;
  parallel_for(team, batch * rows, at_least<i64>(1, (i64(1) << 15) / at_least<i64>(1, bytes)), [&](i64 begin, i64 end) {
    for (i64 k = begin; k < end; k++) {
      const i64 first = at_most(columns, at_least<i64>(0, from(k % rows))) * item;
      const i64 last = at_most(columns, at_least<i64>(0, to(k % rows))) * item;
      char* const out = static_cast<char*>(y) + k * bytes;
      __builtin_memset(out, 0, u64(first));
      __builtin_memcpy(out + first, static_cast<const char*>(x) + k * bytes + first, u64(last - first));
      __builtin_memset(out + last, 0, u64(bytes - last));
    }
  });
}

}  // namespace

template <class T>
void tril(Team& team, void* y, const void* x, i64 batch, i64 rows, i64 columns, i64 diagonal, i64 item) {
  keep(
      team, y, x, batch, rows, columns, item, [](i64) { return i64(0); }, [&](i64 r) { return r + diagonal + 1; });
}

template <class T>
void triu(Team& team, void* y, const void* x, i64 batch, i64 rows, i64 columns, i64 diagonal, i64 item) {
  keep(
      team, y, x, batch, rows, columns, item, [&](i64 r) { return r + diagonal; }, [&](i64) { return columns; });
}

INSTANTIATE(tril)
INSTANTIATE(triu)

}  // namespace chainrule::CHAINRULE_ISA
