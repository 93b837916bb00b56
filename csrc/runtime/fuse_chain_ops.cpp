// The kernels that chains are made of, by their signatures.
#include "runtime/fuse_chain.h"

namespace chainrule {
namespace {

template <class P>
FlatOperand array(P* memory, i64 n) {
  return {reinterpret_cast<char*>(const_cast<std::remove_const_t<P>*>(memory)), i64(sizeof(P)), i64(sizeof(P)) * n};
}
template <class P>
FlatOperand array_or_number(P* memory, i64 n, i64 stride) {
  FlatOperand o = array(memory, stride ? n : 1);
  if (!stride) o.step = 0;
  return o;
}

// Arrays of n elements, then n, then up to two numbers.
template <class T, class... In>
struct Flat {
  template <class... Scalars>
  struct With {
    using Kernel = void (*)(Team&, T*, const In*..., i64, Scalars...);
    template <size_t... I, size_t... S>
    static void call(const FlatOp& op, Team& team, char* const* at, i64 n, std::index_sequence<I...>,
                     std::index_sequence<S...>) {
      reinterpret_cast<Kernel>(op.kernel)(team, reinterpret_cast<T*>(at[0]), reinterpret_cast<const In*>(at[1 + I])...,
                                          n, Scalars(op.scalars[S])...);
    }
    static void run(const FlatOp& op, Team& team, char* const* at, i64 n) {
      call(op, team, at, n, std::index_sequence_for<In...>(), std::index_sequence_for<Scalars...>());
    }
    template <class N, size_t... I, size_t... S>
    static void fill(N& node, FlatOp* op, std::index_sequence<I...>, std::index_sequence<S...>) {
      constexpr size_t arrays = 1 + sizeof...(In);
      op->n = node.template argument<arrays>();
      op->operands = int(arrays);
      op->operand[0] = array(node.template argument<0>(), op->n);
      ((op->operand[1 + I] = array(node.template argument<1 + I>(), op->n)), ...);
      ((op->scalars[S] = double(node.template argument<arrays + 1 + S>())), ...);
    }
    static bool read(Node& node, FlatOp* op, std::initializer_list<Kernel> kernels) {
      for (const Kernel kernel : kernels)
        if (auto* found = as(node, kernel)) {
          op->run = run;
          op->kernel = reinterpret_cast<void (*)()>(kernel);
          fill(*found, op, std::index_sequence_for<In...>(), std::index_sequence_for<Scalars...>());
          return true;
        }
      return false;
    }
  };
};

// y = f(a, b) over one dimension, where each of both is an array or a number.
template <class T>
struct Binary {
  using Kernel = void (*)(Team&, T*, const T*, const T*, const Strided&);
  static void run(const FlatOp& op, Team& team, char* const* at, i64 n) {
    Strided space;
    space.dims = 1;
    space.shape[0] = n;
    for (int o = 0; o < 2; o++) space.stride[o][0] = op.operand[1 + o].step != 0;
    reinterpret_cast<Kernel>(op.kernel)(team, reinterpret_cast<T*>(at[0]), reinterpret_cast<const T*>(at[1]),
                                        reinterpret_cast<const T*>(at[2]), space);
  }
  static bool read(Node& node, FlatOp* op, std::initializer_list<Kernel> kernels) {
    for (const Kernel kernel : kernels)
      if (auto* found = as(node, kernel)) {
        const Strided& space = found->template argument<3>();
        const i64 a = space.stride[0][0], b = space.stride[1][0];
        if (space.dims != 1 || a < 0 || a > 1 || b < 0 || b > 1) return false;
        op->run = run;
        op->kernel = reinterpret_cast<void (*)()>(kernel);
        op->n = space.shape[0];
        op->operands = 3;
        op->operand[0] = array(found->template argument<0>(), op->n);
        op->operand[1] = array_or_number(found->template argument<1>(), op->n, a);
        op->operand[2] = array_or_number(found->template argument<2>(), op->n, b);
        return true;
      }
    return false;
  }
};

// y = x, as operations in place end.
template <class T>
struct Copy {
  static void run(const FlatOp& op, Team& team, char* const* at, i64 n) {
    Strided space;
    space.dims = 1;
    space.shape[0] = n;
    space.stride[0][0] = sizeof(T);
    space.stride[1][0] = op.operand[1].step;
    reinterpret_cast<decltype(Kernels<float>::copy)>(op.kernel)(team, at[0], at[1], space, sizeof(T));
  }
  static bool read(Node& node, FlatOp* op) {
    auto* const found = as(node, kernels<float>().copy);
    if (!found || found->template argument<3>() != i64(sizeof(T))) return false;
    const Strided& space = found->template argument<2>();
    const i64 from = space.stride[1][0];
    if (space.dims != 1 || space.stride[0][0] != i64(sizeof(T)) || (from != 0 && from != i64(sizeof(T)))) return false;
    op->run = run;
    op->kernel = reinterpret_cast<void (*)()>(kernels<float>().copy);
    op->n = space.shape[0];
    op->operands = 2;
    op->operand[0] = array(static_cast<T*>(found->template argument<0>()), op->n);
    op->operand[1] = array_or_number(static_cast<const T*>(found->template argument<1>()), op->n, from);
    return true;
  }
};

}  // namespace

template <class T>
bool read_flat(Node& node, FlatOp* op) {
  const Kernels<T>& k = kernels<T>();
  using One = Flat<T, T>;
  using Two = Flat<T, T, T>;
  using Masked = Flat<T, T, bool>;
  return Binary<T>::read(node, op, {k.add, k.sub, k.mul, k.div, k.pow, k.maximum, k.minimum}) ||
         One::template With<>::read(
             node, op, {k.relu, k.gelu,  k.gelu_tanh, k.silu,  k.sigmoid, k.tanh,  k.abs,        k.erf,   k.erfc,
                        k.exp,  k.expm1, k.log,       k.log1p, k.neg,     k.sqrt,  k.reciprocal, k.rsqrt, k.square,
                        k.cos,  k.sin,   k.ceil,      k.floor, k.sign,    k.round, k.trunc}) ||
         Two::template With<>::read(node, op,
                                    {k.relu_backward, k.gelu_backward, k.gelu_tanh_backward, k.silu_backward,
                                     k.sigmoid_backward, k.tanh_backward}) ||
         One::template With<T>::read(node, op, {k.leaky_relu}) ||
         Two::template With<T>::read(node, op, {k.leaky_relu_backward}) ||
         One::template With<T, T>::read(node, op, {k.clamp}) ||
         Two::template With<T, T>::read(node, op, {k.clamp_backward}) ||
         Masked::template With<T>::read(node, op, {k.dropout_backward}) || Copy<T>::read(node, op);
}
template bool read_flat<float>(Node&, FlatOp*);
template bool read_flat<double>(Node&, FlatOp*);

}  // namespace chainrule
