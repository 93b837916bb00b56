// y = sin x, y = cos x, for x in radians of any size (vmath_trig.h); NaN for infinity.
#include "kernels.h"
#include "loops.h"
#include "vmath_trig.h"

namespace chainrule::CHAINRULE_ISA {

#define TRIG(name)                                                                                       \
  template <class T>                                                                                     \
  void name(Team& team, T* y, const T* x, i64 n) {                                                       \
    parallel_vecs<T>(team, n, [=](i64 i, i64 lanes) { store(y + i, name(load(x + i, lanes)), lanes); }); \
  }                                                                                                      \
  template void name<float>(Team&, float*, const float*, i64);                                           \
  template void name<double>(Team&, double*, const double*, i64);
TRIG(sin)
TRIG(cos)
#undef TRIG

}  // namespace chainrule::CHAINRULE_ISA
