// Gradients of linear layers that are added to what is there, as those of a second batch or of a weight's third use
// (the sum of the first two is a new array): by the product itself.
#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// g, which node i writes: added by i to what the next node that uses it adds it to.
template <class T>
void fuse_sum(const Nodes& nodes, size_t i, T** g, i64 n, bool* add, PassMemory& memory) {
  if (!*g || *add || n == 0) return;
  const Arena::Extent block = extent_of(*nodes[i], *g, true);
  size_t j = i + 1;
  while (j < nodes.size() && (nodes[j]->absorbed || !touches(*nodes[j], block))) j++;
  if (j == nodes.size()) return;
  const auto sum = read_sum<T>(*nodes[j]);
  if (!sum || sum->y != sum->a || sum->b != *g || sum->n != n) return;
  const Arena::Extent to = extent_of(*nodes[j], sum->y, true);
  const auto in_use = [&](const Node& node) { return touches(node, to); };
  if (in_use(*nodes[i]) || any_between(nodes, i, j, in_use) || lives_on(nodes, i, nodes[j].get(), block, memory))
    return;
  std::vector<Known> known = known_of(*nodes[i]);
  known.push_back({sum->y, true, to});
  *g = sum->y;
  *add = true;
  find_uses(*nodes[i], known);
  nodes[i]->cost += nodes[j]->cost;
  nodes[j]->absorbed = true;
}

template <class T>
void fuse_at(const Nodes& nodes, size_t i, PassMemory& memory) {
  auto* const node = as(*nodes[i], kernels<T>().linear_backward);
  if (!node) return;
  const i64 m = node->template argument<7>(), n = node->template argument<8>(), k = node->template argument<9>();
  // Of several blocks of rows, what is there would be the first term of their sum: other bits.
  if (m <= kBlockK) fuse_sum(nodes, i, &node->template argument<1>(), n * k, &node->template argument<11>(), memory);
  fuse_sum(nodes, i, &node->template argument<2>(), n, &node->template argument<12>(), memory);
}

}  // namespace

void fuse_accumulation(const Nodes& nodes, PassMemory& memory) {
  each_node(nodes, [&](size_t i, auto zero) { fuse_at<decltype(zero)>(nodes, i, memory); });
}

}  // namespace chainrule
