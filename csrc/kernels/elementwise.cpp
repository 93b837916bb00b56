// relu: y = max(x, 0), NaN stays NaN.           dx = dy where y > 0, else 0 (saved: y)
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void relu(Team& team, T* y, const T* x, i64 n) {
  parallel_vecs<T>(team, n, [&](i64 i, i64 lanes) {
    const vec<T> v = load(x + i, lanes);
    store(y + i, select<T>(v < T(0), vec<T>(0), v), lanes);
  });
}

template <class T>
void relu_backward(Team& team, T* dx, const T* dy, const T* y, i64 n) {
  parallel_vecs<T>(team, n, [&](i64 i, i64 lanes) {
    const vec<T> g = load(dy + i, lanes);
    store(dx + i, select<T>(load(y + i, lanes) > T(0), g, vec<T>(0)), lanes);
  });
}

INSTANTIATE(relu)
INSTANTIATE(relu_backward)

}  // namespace chainrule::CHAINRULE_ISA
