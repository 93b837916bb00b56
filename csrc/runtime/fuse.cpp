#include "runtime/fuse.h"

#include <algorithm>

#include "runtime/fuse_nodes.h"

namespace chainrule {

void fuse(Nodes& nodes, PassMemory& memory) {
  fuse_epilogues(nodes, memory);
  fuse_norms(nodes, memory);
  fuse_pools(nodes, memory);
  fuse_slopes(nodes, memory);
  fuse_accumulation(nodes, memory);
  fuse_tables(nodes, memory);
  fuse_chains(nodes, memory);
}

std::vector<Known> known_of(const Node& node) {
  const std::vector<Node::Touch> touches = node.touches();
  std::vector<Known> known;
  for (size_t i = 0; i < touches.size(); i++)
    known.push_back({touches[i].memory, touches[i].written, node.uses[i].extent});
  return known;
}

Arena::Extent extent_of(const std::vector<Known>& known, const void* memory, bool written) {
  for (const Known& k : known)
    if (k.memory == memory && k.written == written) return k.extent;
  return {nullptr, nullptr};
}

void find_uses(Node& node, const std::vector<Known>& known) {
  std::vector<Node::Use> uses;
  for (const Node::Touch& t : node.touches()) uses.push_back({extent_of(known, t.memory, t.written), t.written});
  node.uses = std::move(uses);
}

bool touches(const Node& node, const Arena::Extent& memory) {
  return std::any_of(node.uses.begin(), node.uses.end(), [&](const Node::Use& u) { return overlap(u.extent, memory); });
}

bool writes(const Node& node, const Arena::Extent& memory) {
  return std::any_of(node.uses.begin(), node.uses.end(),
                     [&](const Node::Use& u) { return u.written && overlap(u.extent, memory); });
}

size_t writer_of(const Nodes& nodes, size_t j, const Arena::Extent& memory) {
  for (size_t i = j; i-- > 0;)
    if (!nodes[i]->absorbed && writes(*nodes[i], memory)) return i;
  return j;
}

bool lives_on(const Nodes& nodes, size_t i, const Node* reader, const Arena::Extent& block, const PassMemory& memory) {
  for (size_t j = i + 1; j < nodes.size(); j++) {
    if (nodes[j].get() == reader || nodes[j]->absorbed) continue;
    for (const Node::Use& u : nodes[j]->uses)
      if (same(u.extent, block)) return true;
  }
  return memory.outlives(block);
}

}  // namespace chainrule
