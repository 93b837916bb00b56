// What the passes share: recognising nodes, and asking who uses which memory.
#pragma once
#include <optional>

#include "kernels.h"
#include "runtime/fuse.h"

namespace chainrule {

template <class F>
struct NodeOf;
template <class... Params>
struct NodeOf<void (*)(Team&, Params...)> {
  using type = KernelNode<Params...>;
};

// The node as one of this kernel's; null where it is another's, or one that passes must leave alone.
template <class F>
typename NodeOf<F>::type* as(Node& node, F kernel) {
  if (node.kernel != reinterpret_cast<const void*>(kernel) || node.absorbed || node.refreshed) return nullptr;
  return static_cast<typename NodeOf<F>::type*>(&node);
}

// y = a + b, n elements each, side by side.
template <class T>
struct Sum {
  T* y;
  const T *a, *b;
  i64 n;
};
template <class T>
std::optional<Sum<T>> read_sum(Node& node) {
  auto* const add = as(node, kernels<T>().add);
  if (!add) return {};
  const Strided& space = add->template argument<3>();
  if (space.dims != 1 || space.stride[0][0] != 1 || space.stride[1][0] != 1) return {};
  return Sum<T>{add->template argument<0>(), add->template argument<1>(), add->template argument<2>(), space.shape[0]};
}

inline bool overlap(const Arena::Extent& a, const Arena::Extent& b) { return a.begin < b.end && b.begin < a.end; }
// A block of the arena, or the same memory from outside.
inline bool same(const Arena::Extent& a, const Arena::Extent& b) { return a.number == b.number && overlap(a, b); }

// Where each pointer of a node lies.
struct Known {
  const void* memory;
  bool written;
  Arena::Extent extent;
};
std::vector<Known> known_of(const Node& node);
Arena::Extent extent_of(const std::vector<Known>& known, const void* memory, bool written);
inline Arena::Extent extent_of(const Node& node, const void* memory, bool written) {
  return extent_of(known_of(node), memory, written);
}
// What a node uses, after its arguments were changed to pointers among `known`, the first of equal ones.
void find_uses(Node& node, const std::vector<Known>& known);

// A block of its own for what lay elsewhere, or nowhere: written, and perhaps read, by a node that knows it from here.
template <class T>
T* own_block(PassMemory& memory, size_t bytes, std::vector<Known>* known) {
  const Arena::Extent own = memory.add_block(bytes);
  for (const bool written : {true, false}) known->push_back({own.begin, written, own});
  return reinterpret_cast<T*>(const_cast<char*>(own.begin));
}
// f(i, T()) for each node and both types of element.
template <class F>
void each_node(const Nodes& nodes, F&& f) {
  for (size_t i = 0; i < nodes.size(); i++) f(i, float()), f(i, double());
}

bool touches(const Node& node, const Arena::Extent& memory);
bool writes(const Node& node, const Arena::Extent& memory);
// Whether one of the nodes between these two does.
template <class F>
bool any_between(const Nodes& nodes, size_t first, size_t last, F&& does) {
  for (size_t k = first + 1; k < last; k++)
    if (!nodes[k]->absorbed && does(*nodes[k])) return true;
  return false;
}
// The last node before j that writes to this memory; j where there is none.
size_t writer_of(const Nodes& nodes, size_t j, const Arena::Extent& memory);
// Whether something reads this block after node i, `reader` aside: a later node, or the step's caller.
bool lives_on(const Nodes& nodes, size_t i, const Node* reader, const Arena::Extent& block, const PassMemory& memory);

}  // namespace chainrule
