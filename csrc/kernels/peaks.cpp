// multiply_add: nothing but fused multiply-adds in registers, as fast as the core goes: the roof over every product.
#include "kernels.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

// Two units with a latency of 4 cycles want 8 independent registers in flight; a vec is up to 4 registers.
template <class T>
i64 multiply_add(i64 rounds, T* sink) {
  constexpr int kRegistersInFlight = 12, kVecs = kRegistersInFlight > kRegisters ? kRegistersInFlight / kRegisters : 1;
  const vec<T> factor(T(0.999)), term(T(0.001));
  vec<T> x[kVecs];
  for (int i = 0; i < kVecs; i++) x[i] = vec<T>(T(i));
  for (i64 r = 0; r < rounds; r++)
#pragma GCC unroll 12
    for (int i = 0; i < kVecs; i++) x[i] = keep(fma(x[i], factor, term));
  for (int i = 1; i < kVecs; i++) x[0] = x[0] + x[i];
  store(sink, x[0]);
  return rounds * kVecs * vec<T>::size * 2;
}

INSTANTIATE(multiply_add)

}  // namespace chainrule::CHAINRULE_ISA
