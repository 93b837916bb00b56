#include "runtime/fuse.h"

#include <algorithm>

#include "dispatch.h"
#include "kernels.h"

namespace chainrule {
namespace {

template <class F>
struct NodeOf;
template <class... Params>
struct NodeOf<void (*)(Team&, Params...)> {
  using type = KernelNode<Params...>;
};

// The node as one of this kernel's; null where it is another's.
template <class F>
typename NodeOf<F>::type* as(Node& node, F kernel) {
  if (node.kernel != reinterpret_cast<const void*>(kernel)) return nullptr;
  return static_cast<typename NodeOf<F>::type*>(&node);
}

struct Activated {
  void* y;
  const void* x;
  i64 n;
  Activation kind;
};

template <class T>
bool read_activation(Node& node, Activated* found) {
  const Kernels<T>& k = kernels<T>();
  const std::pair<decltype(k.relu), Activation> kinds[] = {
      {k.relu, Activation::relu}, {k.gelu, Activation::gelu},       {k.gelu_tanh, Activation::gelu_tanh},
      {k.silu, Activation::silu}, {k.sigmoid, Activation::sigmoid}, {k.tanh, Activation::tanh}};
  for (const auto& [kernel, kind] : kinds)
    if (auto* a = as(node, kernel)) {
      *found = {a->template argument<0>(), a->template argument<1>(), a->template argument<2>(), kind};
      return true;
    }
  return false;
}

bool overlap(const Arena::Extent& a, const Arena::Extent& b) { return a.begin < b.end && b.begin < a.end; }
// A block of the arena, or the same memory from outside.
bool same(const Arena::Extent& a, const Arena::Extent& b) { return a.number == b.number && overlap(a, b); }

const Arena::Extent* extent_of(const std::vector<Node::Use>& uses, const void* memory) {
  const char* at = static_cast<const char*>(memory);
  for (const Node::Use& u : uses)
    if (u.extent.begin <= at && at < u.extent.end) return &u.extent;
  return nullptr;
}

bool touches(const Node& node, const Arena::Extent& extent) {
  return std::any_of(node.uses.begin(), node.uses.end(), [&](const Node::Use& u) { return overlap(u.extent, extent); });
}

// What a node uses, after its arguments were changed to memory among `known`.
void find_uses(Node& node, const std::vector<Node::Use>& known) {
  std::vector<Node::Use> uses;
  for (const Node::Touch& t : node.touches()) uses.push_back({*extent_of(known, t.memory), t.written});
  node.uses = std::move(uses);
}

// The activation that turns h, which node `i` writes and nothing else touches before, into another array. Null where
// there is none, or where it can't be moved to i: its result's memory serves something else until then. `scratch`,
// which is done with before the result is wanted, often lies there; it can be moved.
Node* activation_behind(const Nodes& nodes, size_t i, const void* h, const void* scratch, i64 n,
                        bool (*read)(Node&, Activated*), Activated* found) {
  const Arena::Extent whole = *extent_of(nodes[i]->uses, h);
  for (size_t j = i + 1; j < nodes.size(); j++) {
    Node& node = *nodes[j];
    if (node.absorbed || !touches(node, whole)) continue;
    if (!read(node, found) || found->x != h || found->n != n) return nullptr;
    if (found->y == h) return &node;
    const Arena::Extent result = *extent_of(node.uses, found->y);
    for (const Node::Use& u : nodes[i]->uses)
      if (overlap(u.extent, result) && !(scratch && u.extent.begin <= scratch && scratch < u.extent.end))
        return nullptr;
    for (size_t k = i + 1; k < j; k++)
      if (!nodes[k]->absorbed && touches(*nodes[k], result)) return nullptr;
    return &node;
  }
  return nullptr;
}

// Whether something reads h after the activation did: a later node that uses the same block, or the step's caller.
bool lives_on(const Nodes& nodes, size_t i, const Node* activation, const void* h, const PassMemory& memory) {
  const Arena::Extent whole = *extent_of(nodes[i]->uses, h);
  for (size_t j = i + 1; j < nodes.size(); j++) {
    if (nodes[j].get() == activation) continue;
    for (const Node::Use& u : nodes[j]->uses)
      if (same(u.extent, whole)) return true;
  }
  return memory.outlives(whole);
}

// Where a product keeps what the pass changes; z is null for a convolution.
template <class T>
struct Product {
  T** y;
  T** z;
  T** scratch;
  Activation* activation;
  i64 size;  // elements of y
};

template <class T>
bool read_product(Node& node, Product<T>* p) {
  if (auto* linear = as(node, kernels<T>().linear)) {
    *p = {&linear->template argument<0>(), &linear->template argument<1>(), &linear->template argument<9>(),
          &linear->template argument<8>(), linear->template argument<5>() * linear->template argument<6>()};
    return *p->z == nullptr && *p->activation == Activation::none;
  }
  if (auto* conv = as(node, kernels<T>().conv2d)) {
    const Conv2d& c = conv->template argument<4>();
    *p = {&conv->template argument<0>(), nullptr, &conv->template argument<6>(), &conv->template argument<5>(),
          c.batch * c.cout * c.window.oh * c.window.ow};
    return *p->activation == Activation::none;
  }
  return false;
}

template <class T>
bool fuse_at(const Nodes& nodes, size_t i, PassMemory& memory) {
  Node& node = *nodes[i];
  Product<T> product;
  if (!read_product(node, &product) || product.size == 0) return false;
  T *const h = *product.y, *const scratch = *product.scratch;
  Activated a;
  Node* const behind = activation_behind(nodes, i, h, scratch, product.size, read_activation<T>, &a);
  if (!behind) return false;
  const bool lives = a.y != h && lives_on(nodes, i, behind, h, memory);
  if (lives && !product.z) return false;
  // The result's block comes first: the scratch that lay there had other bounds.
  std::vector<Node::Use> known = behind->uses;
  known.insert(known.end(), node.uses.begin(), node.uses.end());
  if (scratch && overlap(*extent_of(node.uses, scratch), *extent_of(behind->uses, a.y))) {
    const Arena::Extent old = *extent_of(node.uses, scratch);
    known.push_back({memory.add_block(size_t(old.end - old.begin)), true});
    *product.scratch = reinterpret_cast<T*>(const_cast<char*>(known.back().extent.begin));
  }
  if (lives) *product.z = h;
  *product.y = static_cast<T*>(a.y);
  *product.activation = a.kind;
  find_uses(node, known);
  node.cost += behind->cost;
  behind->absorbed = true;
  return true;
}

}  // namespace

void fuse_activations(const Nodes& nodes, PassMemory& memory) {
  for (size_t i = 0; i < nodes.size(); i++)
    if (!nodes[i]->absorbed && !fuse_at<float>(nodes, i, memory)) fuse_at<double>(nodes, i, memory);
}

}  // namespace chainrule
