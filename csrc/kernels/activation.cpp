// y = activation(x), dx = dy * derivative, over flat arrays. The formulas and what is saved: activation.h.
#include "activation.h"

#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <Activation A, class T>
CHAINRULE_INLINE void forward(Team& team, T* y, const T* x, i64 n, T slope = T(0.01)) {
  parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) { store(y + i, activate<A>(load(x + i, lanes), slope), lanes); });
}

template <Activation A, class T>
CHAINRULE_INLINE void backward(Team& team, T* dx, const T* dy, const T* saved, i64 n, T slope = T(0.01)) {
  parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) {
    store(dx + i, activate_backward<A>(load(dy + i, lanes), load(saved + i, lanes), slope), lanes);
  });
}

}  // namespace

#define ACTIVATION(name)                                                                \
  template <class T>                                                                    \
  void name(Team& team, T* y, const T* x, i64 n) {                                      \
    forward<Activation::name>(team, y, x, n);                                           \
  }                                                                                     \
  template <class T>                                                                    \
  void name##_backward(Team& team, T* dx, const T* dy, const T* saved, i64 n) {         \
    backward<Activation::name>(team, dx, dy, saved, n);                                 \
  }                                                                                     \
  template void name<float>(Team&, float*, const float*, i64);                          \
  template void name<double>(Team&, double*, const double*, i64);                       \
  template void name##_backward<float>(Team&, float*, const float*, const float*, i64); \
  template void name##_backward<double>(Team&, double*, const double*, const double*, i64);
ACTIVATION(relu)
ACTIVATION(gelu)
ACTIVATION(gelu_tanh)
ACTIVATION(silu)
ACTIVATION(sigmoid)
ACTIVATION(tanh)
#undef ACTIVATION

template <class T>
void leaky_relu(Team& team, T* y, const T* x, i64 n, T slope) {
  forward<Activation::leaky_relu>(team, y, x, n, slope);
}
template <class T>
void leaky_relu_backward(Team& team, T* dx, const T* dy, const T* x, i64 n, T slope) {
  backward<Activation::leaky_relu>(team, dx, dy, x, n, slope);
}

INSTANTIATE(leaky_relu)
INSTANTIATE(leaky_relu_backward)

}  // namespace chainrule::CHAINRULE_ISA
