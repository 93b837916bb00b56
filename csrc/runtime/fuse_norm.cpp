// relu's gradient moves into the batch_norm_backward behind it, which sees from x where the forward pass made zeros.
#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// Both kernels' arguments that passes look at.
template <class T>
struct Norm {
  const T *x, *mean, *rstd, *weight;
  i64 batch, channels, space;
  bool operator==(const Norm& o) const {
    return x == o.x && mean == o.mean && rstd == o.rstd && weight == o.weight && batch == o.batch &&
           channels == o.channels && space == o.space;
  }
};
template <class T>
struct Forward : Norm<T> {
  const T* bias;
};
template <class T>
struct Backward : Norm<T> {
  T *dx, **partials;
  const T **dy, **bias;
  Activation* activation;
};

// y = relu(h weight + bias)
template <class T>
bool read_forward(Node& node, const T* y, Forward<T>* f) {
  auto* const norm = as(node, kernels<T>().batch_norm);
  if (!norm || norm->template argument<0>() != y || norm->template argument<8>() ||
      norm->template argument<15>() != Activation::relu)
    return false;
  *f = {{norm->template argument<5>(), norm->template argument<1>(), norm->template argument<2>(),
         norm->template argument<6>(), norm->template argument<9>(), norm->template argument<10>(),
         norm->template argument<11>()},
        norm->template argument<7>()};
  return true;
}
template <class T>
bool read_backward(Node& node, const T* dy, Backward<T>* b) {
  auto* const norm = as(node, kernels<T>().batch_norm_backward);
  if (!norm || norm->template argument<3>() != dy || norm->template argument<13>() != Activation::none) return false;
  *b = {{norm->template argument<4>(), norm->template argument<5>(), norm->template argument<6>(),
         norm->template argument<7>(), norm->template argument<9>(), norm->template argument<10>(),
         norm->template argument<11>()},
        norm->template argument<0>(),
        &norm->template argument<14>(),
        &norm->template argument<3>(),
        &norm->template argument<8>(),
        &norm->template argument<13>()};
  return true;
}

// Whether what node f read or wrote there is still so when node j runs.
bool kept(const Nodes& nodes, size_t f, size_t j, const Arena::Extent& memory) {
  return !any_between(nodes, f, j, [&](const Node& other) { return writes(other, memory); });
}

template <class T>
void fuse_at(const Nodes& nodes, size_t i, PassMemory& memory) {
  auto* const relu = as(*nodes[i], kernels<T>().relu_backward);
  if (!relu || relu->template argument<3>() == 0) return;
  const T *const dz = relu->template argument<0>(), *const dy = relu->template argument<1>(),
                 *const y = relu->template argument<2>();
  const Arena::Extent made = extent_of(*relu, dz, true), seen = extent_of(*relu, y, false);
  size_t j = i + 1;
  while (j < nodes.size() && (nodes[j]->absorbed || !touches(*nodes[j], made))) j++;
  Backward<T> back;
  if (j == nodes.size() || !read_backward(*nodes[j], dz, &back)) return;
  if (back.batch * back.channels * back.space != relu->template argument<3>()) return;
  if (lives_on(nodes, i, nodes[j].get(), made, memory)) return;

  Forward<T> forward;
  const size_t f = writer_of(nodes, i, seen);
  if (f == i || !read_forward(*nodes[f], y, &forward) || !(forward == back)) return;

  // All that z is made of, as it was: the forward node leaves it alone, and those in between.
  std::vector<Known> known = known_of(*nodes[j]);
  for (const T* read : {forward.x, forward.weight, forward.bias}) {
    const Arena::Extent extent = extent_of(*nodes[f], read, false);
    if (read && (writes(*nodes[f], extent) || !kept(nodes, f, j, extent))) return;
  }
  for (const T* written : {forward.mean, forward.rstd})
    if (!kept(nodes, f, j, extent_of(*nodes[f], written, true))) return;

  // dy and the bias are read until the last dx is written, instead of dz: what the node writes may lie there by now.
  const Arena::Extent from = extent_of(*relu, dy, false), bias = extent_of(*nodes[f], forward.bias, false);
  if (!kept(nodes, i, j, from)) return;
  Arena::Extent room{nullptr, nullptr};
  for (const Known& k : known) {
    if (!k.written || !(overlap(k.extent, from) || overlap(k.extent, bias))) continue;
    if (k.memory == *back.partials)
      room = k.extent;
    else if (k.memory != dy || k.memory != back.dx || overlap(k.extent, bias))
      return;
  }
  if (room.begin) *back.partials = own_block<T>(memory, size_t(room.end - room.begin), &known);
  *back.dy = dy;
  *back.bias = forward.bias;
  *back.activation = Activation::relu;
  known.push_back({dy, false, from});
  if (forward.bias) known.push_back({forward.bias, false, bias});
  find_uses(*nodes[j], known);
  nodes[j]->cost += nodes[i]->cost;
  nodes[i]->absorbed = true;
}

}  // namespace

void fuse_norms(const Nodes& nodes, PassMemory& memory) {
  each_node(nodes, [&](size_t i, auto zero) { fuse_at<decltype(zero)>(nodes, i, memory); });
}

}  // namespace chainrule
