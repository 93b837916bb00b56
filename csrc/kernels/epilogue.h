// What becomes of a product's finished sums while they are in the L1: z = sums + bias + residual, y = f(z).
#pragma once
#include "activation.h"
#include "loops.h"

namespace chainrule::CHAINRULE_ISA {

// bias, residual, z: null where not wanted. residual and z lie as y does.
template <class T>
struct Epilogue {
  const T* bias;
  Activation activation;
  const T* y = nullptr;  // the first element of all: tells where a part's residual and z lie
  const T* residual = nullptr;
  T* z = nullptr;

  CHAINRULE_INLINE bool idle() const { return !bias && !residual && !z && activation == Activation::none; }
  template <Activation A, class L>
  CHAINRULE_INLINE void finish(T* to, vec<T> v, L lanes) const {
    if (residual) v = v + load(residual + (to - y), lanes);
    if (z) store(z + (to - y), v, lanes);
    store(to, activate<A>(v), lanes);
  }
};

// Biases are of columns: output features, or the channels of pixels.
template <class T>
struct ColumnEpilogue : Epilogue<T> {
  CHAINRULE_OUT_OF_LINE void operator()(T* part, i64 ld, i64, i64 rows, i64 column, i64 columns) const {
    if (this->idle()) return;
    if (ld == columns && columns < vec<T>::size && rows >= 2 * vec<T>::size)
      return finish_flat(part, rows, column, columns);
    by_activation(this->activation, [&](auto kind) {
      for (i64 j = 0; j < columns; j += vec<T>::size) {
        const i64 lanes = at_most(columns - j, i64(vec<T>::size));
        const vec<T> offset = this->bias ? load(this->bias + column + j, lanes) : vec<T>(0);
        for (i64 r = 0; r < rows; r++) {
          T* const to = part + r * ld + j;
          vec<T> v = load(to, lanes);
          if (this->bias) v = v + offset;
          this->template finish<decltype(kind)::value>(to, v, lanes);
        }
      }
    });
  }

 private:
  // Rows shorter than a vec that follow each other: whole vecs of them, whose biases repeat after `columns` vecs.
  void finish_flat(T* part, i64 rows, i64 column, i64 columns) const {
    constexpr i64 size = vec<T>::size;
    T offsets[size * size];
    for (i64 i = 0; i < columns * size; i++) offsets[i] = this->bias ? this->bias[column + i % columns] : T(0);
    by_activation(this->activation, [&](auto kind) {
      const T* offset = offsets;
      each_vec<T>(0, rows * columns, [&](i64 i, auto lanes) {
        vec<T> v = load(part + i, lanes);
        if (this->bias) v = v + load(offset);
        offset = offset + size < offsets + columns * size ? offset + size : offsets;
        this->template finish<decltype(kind)::value>(part + i, v, lanes);
      });
    });
  }
};

// Biases are of rows: the channels of planes.
template <class T>
struct RowEpilogue : Epilogue<T> {
  CHAINRULE_OUT_OF_LINE void operator()(T* part, i64 ld, i64 row, i64 rows, i64, i64 columns) const {
    if (this->idle()) return;
    by_activation(this->activation, [&](auto kind) {
      for (i64 r = 0; r < rows; r++)
        for (i64 j = 0; j < columns; j += vec<T>::size) {
          const i64 lanes = at_most(columns - j, i64(vec<T>::size));
          T* const to = part + r * ld + j;
          vec<T> v = load(to, lanes);
          if (this->bias) v = v + vec<T>(this->bias[row + r]);
          this->template finish<decltype(kind)::value>(to, v, lanes);
        }
    });
  }
};

// What becomes of a gradient: dz = sums * f'(z), from what the forward pass of activation f saved. It lies as dz does.
template <class T>
struct SlopeEpilogue {
  const T *dz, *saved;  // null: there is no activation
  Activation activation;
  CHAINRULE_OUT_OF_LINE void operator()(T* part, i64 ld, i64, i64 rows, i64, i64 columns) const {
    if (!saved) return;
    constexpr i64 kAhead = 2;  // rows
    const T* const from = saved + (part - dz);
    by_activation(activation, [&](auto kind) {
      for (i64 r = 0; r < rows; r++)
        each_vec<T>(0, columns, [&](i64 j, auto lanes) {
          T* const to = part + r * ld + j;
          __builtin_prefetch(from + (r + kAhead) * ld + j);
          store(to, activate_backward<decltype(kind)::value>(load(to, lanes), load(from + r * ld + j, lanes)), lanes);
        });
    });
  }
};

// The two steps of an epilogue whose sums are moved to where y lies: a residual waits for them there.
template <class E>
CHAINRULE_INLINE E before_moving(E e) {
  if (e.residual) e.activation = Activation::none, e.residual = nullptr;
  return e;
}
template <class T>
CHAINRULE_INLINE RowEpilogue<T> after_moving(const Epilogue<T>& e) {
  return {{nullptr, e.residual ? e.activation : Activation::none, e.y, e.residual}};
}

}  // namespace chainrule::CHAINRULE_ISA
