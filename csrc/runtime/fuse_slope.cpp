// An activation's gradient behind the linear_backward that makes what it multiplies moves into that product's epilogue:
// dz = dx f'(y) with dx = dy W.
#include <algorithm>

#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// dz = dx f'(saved), n elements.
template <class T>
struct Slope {
  T* dz;
  const T *dx, *saved;
  i64 n;
  Activation kind;
};
template <class T>
std::optional<Slope<T>> read_slope(Node& node) {
  const Kernels<T>& k = kernels<T>();
  const std::pair<decltype(k.relu_backward), Activation> kinds[] = {
      {k.relu_backward, Activation::relu},           {k.gelu_backward, Activation::gelu},
      {k.gelu_tanh_backward, Activation::gelu_tanh}, {k.silu_backward, Activation::silu},
      {k.sigmoid_backward, Activation::sigmoid},     {k.tanh_backward, Activation::tanh}};
  for (const auto& [kernel, kind] : kinds)
    if (auto* a = as(node, kernel))
      return Slope<T>{a->template argument<0>(), a->template argument<1>(), a->template argument<2>(),
                      a->template argument<3>(), kind};
  return {};
}

// The place of the linear_backward that alone reads dz, which node j makes, as its dy; the list's end: something else
// does, too.
template <class T>
size_t reader_of(const Nodes& nodes, size_t j, const T* dz, const Arena::Extent& block, const PassMemory& memory) {
  size_t r = j + 1;
  while (r < nodes.size() && (nodes[r]->absorbed || !touches(*nodes[r], block))) r++;
  auto* const reader = r < nodes.size() ? as(*nodes[r], kernels<T>().linear_backward) : nullptr;
  if (!reader || reader->template argument<3>() != dz || lives_on(nodes, j, reader, block, memory)) return nodes.size();
  const auto uses_it = [&](const Node::Use& use) { return overlap(use.extent, block); };
  return std::count_if(reader->uses.begin(), reader->uses.end(), uses_it) == 1 ? r : nodes.size();
}

// Blocks for results that can't lie where they were planned, each until its reader ran.
class Rooms {
 public:
  explicit Rooms(PassMemory& memory) : memory_(memory) {}
  // One for nodes [first, last].
  Arena::Extent take(size_t bytes, size_t first, size_t last) {
    for (Room& room : rooms_)
      if (room.last < first && size_t(room.block.end - room.block.begin) >= bytes) {
        room.last = last;
        return room.block;
      }
    rooms_.push_back({memory_.add_block(bytes), last});
    return rooms_.back().block;
  }

 private:
  struct Room {
    Arena::Extent block;
    size_t last;
  };
  PassMemory& memory_;
  std::vector<Room> rooms_;
};

template <class T>
void fuse_at(const Nodes& nodes, size_t j, PassMemory& memory, Rooms& rooms) {
  const auto slope = read_slope<T>(*nodes[j]);
  if (!slope) return;
  const Arena::Extent block = extent_of(*nodes[j], slope->dx, false), result = extent_of(*nodes[j], slope->dz, true),
                      saved = extent_of(*nodes[j], slope->saved, false);
  const size_t i = writer_of(nodes, j, block);
  auto* const node = i < j ? as(*nodes[i], kernels<T>().linear_backward) : nullptr;
  if (!node || node->template argument<0>() != slope->dx || node->template argument<13>()) return;
  if (node->template argument<7>() * node->template argument<9>() != slope->n) return;
  const bool in_place = slope->dz == slope->dx;
  const auto in_use = [&](const Node& other) {
    return touches(other, block) || (!in_place && touches(other, result)) || writes(other, saved);
  };
  if (any_between(nodes, i, j, in_use) || overlap(saved, block) || overlap(saved, result)) return;
  if (!in_place && lives_on(nodes, i, nodes[j].get(), block, memory)) return;
  T*& scratch = node->template argument<15>();
  T* dz = slope->dz;
  std::vector<Known> known = known_of(*nodes[j]);
  bool clash = false;
  for (const Known& k : known_of(*node)) {
    known.push_back(k);
    if (k.memory == slope->dx || k.memory == scratch) continue;
    if (k.written && overlap(k.extent, saved)) return;
    clash = clash || overlap(k.extent, result);
  }
  if (clash) {
    // dz lies where the product's operands do, which nobody needs afterwards: elsewhere, if its reader can be told so.
    const size_t r = reader_of<T>(nodes, j, dz, result, memory);
    if (r == nodes.size()) return;
    auto* const reader = as(*nodes[r], kernels<T>().linear_backward);
    const Arena::Extent own = rooms.take(size_t(slope->n) * sizeof(T), i, r);
    dz = reinterpret_cast<T*>(const_cast<char*>(own.begin));
    std::vector<Known> of_reader = known_of(*reader);
    known.push_back({dz, true, own});
    of_reader.push_back({dz, false, own});
    reader->template argument<3>() = dz;
    find_uses(*reader, of_reader);
  }
  const Arena::Extent room = scratch ? extent_of(*node, scratch, true) : Arena::Extent{nullptr, nullptr};
  if (!in_place && overlap(room, extent_of(known, dz, true)))
    scratch = own_block<T>(memory, size_t(room.end - room.begin), &known);
  node->template argument<0>() = dz;
  node->template argument<13>() = slope->saved;
  node->template argument<14>() = slope->kind;
  find_uses(*node, known);
  node->cost += nodes[j]->cost;
  nodes[j]->absorbed = true;
}

}  // namespace

void fuse_slopes(const Nodes& nodes, PassMemory& memory) {
  Rooms rooms(memory);
  each_node(nodes, [&](size_t j, auto zero) { fuse_at<decltype(zero)>(nodes, j, memory, rooms); });
}

}  // namespace chainrule
