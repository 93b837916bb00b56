// relu's gradient moves before that of the maximum behind it: y is max_pool2d's input, so y > 0 where a window's
// maximum was found if that maximum is positive. A mask of the maxima is as good, and there are fewer of them.
#include <algorithm>

#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// The max_pool2d before node i that found its maxima in x and wrote these indices; i where there is none.
template <class T>
size_t pool_before(const Nodes& nodes, size_t i, const T* x, const i64* indices) {
  for (size_t f = i; f-- > 0;)
    if (auto* pool = as(*nodes[f], kernels<T>().max_pool2d))
      if (pool->template argument<1>() == indices) return pool->template argument<2>() == x ? f : i;
  return i;
}

// dz = relu'(y) dx, at j, with dx = max_pool2d_backward(dy), at i, for this alone.
template <class T>
void fuse_at(Nodes& nodes, size_t j, PassMemory& memory) {
  const Kernels<T>& k = kernels<T>();
  auto* const relu = as(*nodes[j], k.relu_backward);
  if (!relu) return;
  T *const dz = relu->template argument<0>(), *const dx = const_cast<T*>(relu->template argument<1>());
  const Arena::Extent block = extent_of(*relu, dx, false), result = extent_of(*relu, dz, true);
  const size_t i = writer_of(nodes, j, block);
  auto* const pool = i < j ? as(*nodes[i], k.max_pool2d_backward) : nullptr;
  if (!pool || pool->template argument<0>() != dx) return;
  const i64 planes = pool->template argument<4>() * pool->template argument<5>(), out = pool->template argument<7>();
  if (planes * pool->template argument<6>() != relu->template argument<3>()) return;
  const i64* const indices = pool->template argument<3>();
  const size_t f = pool_before<T>(nodes, i, relu->template argument<2>(), indices);
  if (f == i) return;
  const T* const maxima = static_cast<typename NodeOf<decltype(k.max_pool2d)>::type&>(*nodes[f]).template argument<0>();
  const Arena::Extent of_maxima = extent_of(*nodes[f], maxima, true),
                      input = extent_of(*relu, relu->template argument<2>(), false);
  const auto spoils = [&](const Node& node) { return writes(node, of_maxima) || writes(node, input); };
  // An optimizer's update is found by its place in the list.
  const auto in_use = [&](const Node& node) { return touches(node, block) || touches(node, result) || node.refreshed; };
  if (any_between(nodes, f, i, spoils) || any_between(nodes, i, j, in_use) || lives_on(nodes, i, relu, block, memory) ||
      overlap(result, extent_of(*pool, indices, false)))
    return;
  std::vector<Known> known = known_of(*relu);
  for (const Node* node : {nodes[f].get(), nodes[i].get()})
    for (const Known& k : known_of(*node)) known.push_back(k);
  const T* const dy = pool->template argument<2>();
  T* const masked = own_block<T>(memory, size_t(planes * out) * sizeof(T), &known);
  known.push_back({maxima, false, of_maxima});
  relu->template argument<0>() = masked;
  relu->template argument<1>() = dy;
  relu->template argument<2>() = maxima;
  relu->template argument<3>() = planes * out;
  relu->cost *= double(out) / double(pool->template argument<6>());
  pool->template argument<0>() = dz;
  pool->template argument<2>() = masked;
  find_uses(*relu, known);
  find_uses(*pool, known);
  std::rotate(nodes.begin() + i64(i), nodes.begin() + i64(j), nodes.begin() + i64(j) + 1);
}

}  // namespace

void fuse_pools(Nodes& nodes, PassMemory& memory) {
  each_node(nodes, [&](size_t j, auto zero) { fuse_at<decltype(zero)>(nodes, j, memory); });
}

}  // namespace chainrule
