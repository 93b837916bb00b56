// What is done element by element to a product's result moves into its epilogue, to a batch norm's into its last loop:
// a residual is added, an activation applied, in this order.
#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// y = f(h), or h + residual
struct Follower {
  void* y;
  const void* residual;  // null: an activation
  Activation kind;
  i64 n;
};

template <class T>
bool read_follower(Node& node, const void* h, Follower* found) {
  const Kernels<T>& k = kernels<T>();
  const std::pair<decltype(k.relu), Activation> kinds[] = {
      {k.relu, Activation::relu}, {k.gelu, Activation::gelu},       {k.gelu_tanh, Activation::gelu_tanh},
      {k.silu, Activation::silu}, {k.sigmoid, Activation::sigmoid}, {k.tanh, Activation::tanh}};
  for (const auto& [kernel, kind] : kinds)
    if (auto* a = as(node, kernel)) {
      *found = {a->template argument<0>(), nullptr, kind, a->template argument<2>()};
      return a->template argument<1>() == h;
    }
  if (const auto sum = read_sum<T>(node)) {
    *found = {sum->y, sum->a == h ? sum->b : sum->a, Activation::none, sum->n};
    return (sum->a == h) != (sum->b == h);
  }
  return false;
}

// Where a product, or a norm, keeps what the pass changes.
template <class T>
struct Product {
  T** y;
  const T** residual;
  Activation* activation;
  i64 size;  // elements of y
  // What the node writes for itself, or for nobody where y comes to lie there: it can be moved.
  T** movable[3] = {nullptr, nullptr, nullptr};
  // What is read an element at a time, by the loop that then writes y there: y may be the same memory.
  const T* in_step[2] = {nullptr, nullptr};

  bool moves(const void* m) const {
    for (T** const p : movable)
      if (p && *p == m) return true;
    return false;
  }
  bool allows(const void* y_at, const void* m) const { return m == y_at && (m == in_step[0] || m == in_step[1]); }
};

template <class T>
bool read_product(Node& node, Product<T>* p) {
  if (auto* linear = as(node, kernels<T>().linear)) {
    *p = {&linear->template argument<0>(),
          &linear->template argument<5>(),
          &linear->template argument<9>(),
          linear->template argument<6>() * linear->template argument<7>(),
          {&linear->template argument<10>()}};
    return !linear->template argument<1>() && *p->activation == Activation::none;
  }
  if (auto* conv = as(node, kernels<T>().conv2d)) {
    const Conv2d& c = conv->template argument<5>();
    *p = {&conv->template argument<0>(),
          &conv->template argument<4>(),
          &conv->template argument<6>(),
          c.batch * c.cout * c.window.oh * c.window.ow,
          {&conv->template argument<7>()}};
    return *p->activation == Activation::none;
  }
  if (auto* norm = as(node, kernels<T>().batch_norm)) {
    *p = {&norm->template argument<0>(),
          &norm->template argument<8>(),
          &norm->template argument<15>(),
          norm->template argument<9>() * norm->template argument<10>() * norm->template argument<11>(),
          {&norm->template argument<16>(), &norm->template argument<1>(), &norm->template argument<2>()},
          {norm->template argument<5>(), norm->template argument<8>()}};
    return *p->activation == Activation::none;
  }
  return false;
}

// The node that makes another array of h = *p.y, which node `i` writes and nothing else touches before. Null where
// there is none, or where it can't be moved to i: its result's memory serves something else until then, or the residual
// is made later. What can be moved, the scratch, often lies there.
template <class T>
Node* follower_of(const Nodes& nodes, size_t i, const Product<T>& p, Follower* found) {
  const T* const h = *p.y;
  const Arena::Extent whole = extent_of(*nodes[i], h, true);
  for (size_t j = i + 1; j < nodes.size(); j++) {
    Node& node = *nodes[j];
    if (node.absorbed || !touches(node, whole)) continue;
    if (!read_follower<T>(node, h, found) || found->n != p.size) return nullptr;
    const Arena::Extent result = extent_of(node, found->y, true);
    if (found->residual) {
      const Arena::Extent residual = extent_of(node, found->residual, false);
      if (overlap(residual, whole) || overlap(residual, result)) return nullptr;
      if (any_between(nodes, i, j, [&](const Node& other) { return writes(other, residual); })) return nullptr;
    }
    if (found->y == h) return &node;
    for (const Known& k : known_of(*nodes[i]))
      if (overlap(k.extent, result) && !p.moves(k.memory) && !p.allows(found->y, k.memory)) return nullptr;
    if (any_between(nodes, i, j, [&](const Node& other) { return touches(other, result); })) return nullptr;
    return &node;
  }
  return nullptr;
}

template <class T>
bool fuse_at(const Nodes& nodes, size_t i, PassMemory& memory) {
  Node& node = *nodes[i];
  Product<T> product;
  if (!read_product(node, &product) || product.size == 0) return false;
  T* const h = *product.y;
  Follower f;
  Node* const behind = follower_of(nodes, i, product, &f);
  if (!behind || (f.residual && *product.residual)) return false;
  if (f.y != h && lives_on(nodes, i, behind, extent_of(node, h, true), memory)) return false;
  std::vector<Known> known = known_of(*behind);
  for (const Known& k : known_of(node)) known.push_back(k);
  for (T** const p : product.movable) {
    const Arena::Extent room = p ? extent_of(node, *p, true) : Arena::Extent{nullptr, nullptr};
    if (!overlap(room, extent_of(*behind, f.y, true))) continue;
    *p = own_block<T>(memory, size_t(room.end - room.begin), &known);
  }
  *product.y = static_cast<T*>(f.y);
  if (f.residual)
    *product.residual = static_cast<const T*>(f.residual);
  else
    *product.activation = f.kind;
  find_uses(node, known);
  node.cost += behind->cost;
  behind->absorbed = true;
  return true;
}

}  // namespace

void fuse_epilogues(const Nodes& nodes, PassMemory& memory) {
  for (size_t i = 0; i < nodes.size(); i++)
    while (!nodes[i]->absorbed && (fuse_at<float>(nodes, i, memory) || fuse_at<double>(nodes, i, memory))) {
    }
}

}  // namespace chainrule
