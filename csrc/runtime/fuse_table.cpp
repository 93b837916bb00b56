// The linear layer behind an embedding of more tokens than the table has rows, as a character model's first: products
// of the table's rows, which are then looked up, by the LSTM itself where one reads them. A row of a product has the
// same bits whatever the others are.
#include "runtime/fuse_nodes.h"

namespace chainrule {
namespace {

// Kernels in the place of one node, each after the one before.
class Series final : public Node {
 public:
  void add(std::unique_ptr<Node> node) { parts_.push_back(std::move(node)); }
  void run(Team& team) override {
    for (size_t i = 0; i < parts_.size(); i++) {
      if (i > 0) team.barrier();
      parts_[i]->run(team);
    }
  }
  std::vector<Touch> touches() const override {
    std::vector<Touch> all;
    for (const auto& part : parts_)
      for (const Touch& t : part->touches()) all.push_back(t);
    return all;
  }
  std::string name() const override {
    return join("+", [](const Node& n) { return n.name(); });
  }
  std::string arguments() const override {
    return join(", ", [](const Node& n) { return n.arguments(); });
  }

 private:
  template <class F>
  std::string join(const char* between, F&& text) const {
    std::string all;
    for (const auto& part : parts_) all += (all.empty() ? "" : between) + text(*part);
    return all;
  }
  std::vector<std::unique_ptr<Node>> parts_;
};

template <class F, class... Args>
std::unique_ptr<Node> node_of(F kernel, const Args&... args) {
  return std::make_unique<typename NodeOf<F>::type>(kernel, args...);
}

// Where the rows of an operand come from: node `lookup` has found them in a table; node `copy`, if that is another one,
// has put them into another order.
struct Rows {
  size_t lookup, copy;
  i64 first;      // the place of the first of them among those that were looked up
  Strided order;  // of the places: where they are to lie, and where they do, in bytes of indices
};

// The order of the rows that this copy takes, and whether it takes whole ones, `wanted` of them. `lead` is where it
// begins, `row` a row's bytes, `count` how many rows there are.
bool read_order(const Strided& space, i64 item, i64 lead, i64 row, i64 wanted, i64 count, Rows* rows) {
  constexpr i64 kIndex = sizeof(i64);
  const i32 last = space.dims - 1;
  if (lead < 0 || lead % row || space.shape[last] * item % row || space.stride[1][last] != item) return false;
  Strided& order = rows->order;
  order = space;
  i64 written = item, end = rows->first = lead / row;
  for (i32 d = last; d >= 0; d--) {
    if (space.stride[0][d] != written) return false;
    written *= space.shape[d];
    i64 step = 1;
    if (d == last) {
      order.shape[d] = space.shape[d] * item / row;
    } else {
      if (space.stride[1][d] < 0 || space.stride[1][d] % row) return false;
      step = space.stride[1][d] / row;
    }
    order.stride[0][d] = d == last ? kIndex : space.stride[0][d] / row * kIndex;
    order.stride[1][d] = step * kIndex;
    end += (order.shape[d] - 1) * step;
  }
  return written == wanted * row && end < count;
}

template <class T>
bool read_rows(const Nodes& nodes, size_t j, const T* x, i64 m, i64 width, Rows* rows) {
  constexpr i64 kItem = sizeof(T);
  size_t i = rows->copy = writer_of(nodes, j, extent_of(*nodes[j], x, false));
  if (i == j) return false;
  Strided space{1, {m * width}, {{kItem}, {kItem}}};
  if (auto* const copy = as(*nodes[i], kernels<float>().copy)) {
    if (copy->template argument<0>() != x || copy->template argument<3>() != kItem) return false;
    space = copy->template argument<2>();
    x = static_cast<const T*>(copy->template argument<1>());
    i = writer_of(nodes, rows->copy, extent_of(*copy, x, false));
    if (i == rows->copy) return false;
  }
  rows->lookup = i;
  auto* const lookup = as(*nodes[i], kernels<T>().embedding);
  return lookup && lookup->template argument<5>() == width &&
         read_order(space, kItem,
                    reinterpret_cast<const char*>(x) - reinterpret_cast<const char*>(lookup->template argument<0>()),
                    width * kItem, m, lookup->template argument<3>(), rows);
}

// The LSTM whose inputs' part is y, read by nothing else.
template <class T>
typename NodeOf<decltype(Kernels<T>::lstm)>::type* reader_of(const Nodes& nodes, size_t j, const T* y, i64 m, i64 n,
                                                             const PassMemory& memory) {
  const Arena::Extent block = extent_of(*nodes[j], y, true);
  for (size_t i = j + 1; i < nodes.size(); i++) {
    if (nodes[i]->absorbed || !touches(*nodes[i], block)) continue;
    auto* const lstm = as(*nodes[i], kernels<T>().lstm);
    if (!lstm || lstm->template argument<3>() != y || lstm->template argument<4>()) return nullptr;
    const Recurrence& r = lstm->template argument<8>();
    const bool whole = r.steps * r.batch == m && 4 * r.hidden == n;
    return whole && !lives_on(nodes, j, lstm, block, memory) ? lstm : nullptr;
  }
  return nullptr;
}

template <class T>
void fuse_at(Nodes& nodes, size_t j, PassMemory& memory) {
  constexpr i64 kLeastUses = 2;  // of each row of the table
  auto* const linear = as(*nodes[j], kernels<T>().linear);
  if (!linear || linear->template argument<1>() || linear->template argument<5>()) return;
  const i64 m = linear->template argument<6>(), n = linear->template argument<7>(), k = linear->template argument<8>();
  Rows rows;
  if (m == 0 || n == 0 || k == 0 || !read_rows<T>(nodes, j, linear->template argument<2>(), m, k, &rows)) return;
  Node& found = *nodes[rows.lookup];
  auto* const lookup = as(found, kernels<T>().embedding);
  const T* const table = lookup->template argument<1>();
  const i64* index = lookup->template argument<2>();
  const i64 size = lookup->template argument<4>();
  const Arena::Extent sources[] = {extent_of(found, table, false), extent_of(found, index, false)};
  const auto spoils = [&](const Node& node) { return writes(node, sources[0]) || writes(node, sources[1]); };
  if (size * kLeastUses > m || any_between(nodes, rows.lookup, j, spoils)) return;

  std::vector<Known> known = known_of(*linear);
  for (const Known& k : known_of(found)) known.push_back(k);
  T* const y = linear->template argument<0>();
  auto* const reader = reader_of(nodes, j, y, m, n, memory);
  auto series = std::make_unique<Series>();
  index += rows.first;
  known.push_back({index, false, sources[1]});
  if (reader || rows.order.dims > 1) {  // who reads later wants indices of its own
    i64* const ordered = own_block<i64>(memory, size_t(m) * sizeof(i64), &known);
    series->add(node_of(kernels<float>().copy, ordered, index, rows.order, i64(sizeof(i64))));
    index = ordered;
  }
  T* const products = own_block<T>(memory, size_t(size * n) * sizeof(T), &known);
  linear->template argument<0>() = products;
  linear->template argument<2>() = table;
  linear->template argument<6>() = size;
  const i64 scratch = kernels<T>().linear_scratch(size, n, k, linear->serial ? 1 : memory.threads());
  linear->template argument<10>() = own_block<T>(memory, size_t(scratch) * sizeof(T), &known);
  series->serial = linear->serial;
  series->cost = linear->cost * double(size) / double(m) + double(m * n) * sizeof(T) / 8;
  if (reader) {
    std::vector<Known> read = known_of(*reader);
    for (const Known& k : known) read.push_back(k);
    reader->template argument<3>() = products;
    reader->template argument<4>() = index;
    find_uses(*reader, read);
  }
  series->add(std::move(nodes[j]));
  if (!reader) series->add(node_of(kernels<T>().embedding, y, products, index, m, size, n));
  find_uses(*series, known);
  nodes[j] = std::move(series);

  // What only the product read.
  for (const size_t i : {rows.copy, rows.lookup})
    for (const Node::Use& u : nodes[i]->uses)
      if (u.written) nodes[i]->absorbed = !lives_on(nodes, i, nullptr, u.extent, memory);
}

}  // namespace

void fuse_tables(Nodes& nodes, PassMemory& memory) {
  each_node(nodes, [&](size_t j, auto zero) { fuse_at<decltype(zero)>(nodes, j, memory); });
}

}  // namespace chainrule
