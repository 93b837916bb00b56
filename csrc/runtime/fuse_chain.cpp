// Element-wise kernels that follow each other become one pass over memory: block by block, the kernels themselves run
// on a thread's share, and what only they need between them stays in a buffer in the L1.
#include "runtime/fuse_chain.h"

#include <algorithm>

namespace chainrule {
namespace {

constexpr size_t kMostOps = 8;
constexpr i64 kBlockBytes = 8 << 10;  // of an array of T: three of them fit into an L1 of 32 KB
constexpr i64 kChunkBlocks = 4;

class ChainNode final : public Node {
 public:
  ChainNode(std::vector<FlatOp> ops, i64 item) : ops_(std::move(ops)), block_(kBlockBytes / item) {}

  void run(Team& team) override {
    alignas(64) char buffers[kMostOps][kBlockBytes];
    const i64 n = ops_[0].n, grain = block_ * kChunkBlocks;
    Team solo = team.solo();
    team.next_loop();
    for (i64 chunk; team.take((n + grain - 1) / grain, &chunk);)
      for (i64 begin = chunk * grain, end = std::min(n, begin + grain); begin < end; begin += block_) {
        const i64 count = std::min(block_, end - begin);
        for (const FlatOp& op : ops_) {
          char* at[FlatOp::kMostOperands];
          for (int o = 0; o < op.operands; o++) {
            const FlatOperand& x = op.operand[o];
            at[o] = x.slot < 0 ? x.memory + begin * x.step : buffers[x.slot];
          }
          op.run(op, solo, at, count);
        }
      }
  }
  std::vector<Touch> touches() const override {
    std::vector<Touch> all;
    each([&](const FlatOperand& x, bool written) { all.push_back({x.memory, written}); });
    return all;
  }
  std::string name() const override {
    std::string all;
    for (const FlatOp& op : ops_) all += (all.empty() ? "" : "+") + op.name;
    return all;
  }
  std::string arguments() const override { return "n=" + text(ops_[0].n); }
  void find_uses() {
    uses.clear();
    each([&](const FlatOperand& x, bool written) { uses.push_back({x.extent, written}); });
  }

 private:
  template <class F>
  void each(F&& f) const {
    for (const FlatOp& op : ops_)
      for (int o = 0; o < op.operands; o++)
        if (op.operand[o].slot < 0) f(op.operand[o], o == 0);
  }
  std::vector<FlatOp> ops_;
  i64 block_;  // elements
};

// Blocks are done one after another, all kernels on each: right as long as what one of them writes is, for all others,
// the same elements in the same place.
bool in_step(const std::vector<FlatOp>& ops) {
  for (const FlatOp& writer : ops)
    for (const FlatOp& op : ops)
      for (int o = 0; o < op.operands && &op != &writer; o++) {
        const FlatOperand &to = writer.operand[0], &x = op.operand[o];
        if (to.overlaps(x) && !to.is(x)) return false;
      }
  return true;
}

template <class T>
class Chains {
 public:
  Chains(Nodes& nodes, PassMemory& memory) : nodes_(nodes), memory_(memory), chains_(nodes.size()) {}

  void find() {
    for (size_t j = 0; j < nodes_.size(); j++) {
      FlatOp op;
      if (!read_flat<T>(*nodes_[j], &op) || op.n == 0) continue;
      op.name = nodes_[j]->name();
      op.place = j;
      for (int o = 0; o < op.operands; o++) op.operand[o].extent = nodes_[j]->uses[size_t(o)].extent;
      chains_[j] = {op};
      // The newest first: then it no longer stands between the older ones and this one.
      std::vector<std::pair<size_t, int>> makers;
      for (int o = 1; o < op.operands; o++) makers.emplace_back(writer_of(nodes_, j, op.operand[o].extent), o);
      std::sort(makers.rbegin(), makers.rend());
      for (const auto& [i, o] : makers)
        if (i < j && !nodes_[i]->absorbed) join(i, j, op.operand[o]);
    }
    for (size_t j = 0; j < nodes_.size(); j++)
      if (chains_[j].size() > 1) make(j);
  }

 private:
  // The chain at i goes to j, which reads x of it, where nothing in between minds.
  void join(size_t i, size_t j, const FlatOperand& x) {
    const std::vector<FlatOp>& before = chains_[i];
    const auto makes_x = [&](const FlatOp& op) { return op.operand[0].is(x); };
    if (before.empty() || before[0].n != chains_[j][0].n || before.size() + chains_[j].size() > kMostOps) return;
    if (std::none_of(before.begin(), before.end(), makes_x)) return;
    const auto minds = [&](const Node& other) {
      for (const Node::Use& u : nodes_[i]->uses)
        if (u.written ? touches(other, u.extent) : writes(other, u.extent)) return true;
      return false;
    };
    if (any_between(nodes_, i, j, minds)) return;
    std::vector<FlatOp> both = before;
    both.insert(both.end(), chains_[j].begin(), chains_[j].end());
    std::sort(both.begin(), both.end(), [](const FlatOp& a, const FlatOp& b) { return a.place < b.place; });
    if (!in_step(both)) return;
    chains_[j] = std::move(both);
    chains_[i].clear();
    nodes_[j]->uses.insert(nodes_[j]->uses.end(), nodes_[i]->uses.begin(), nodes_[i]->uses.end());
    nodes_[j]->cost += nodes_[i]->cost;
    nodes_[j]->serial = nodes_[j]->serial && nodes_[i]->serial;
    nodes_[i]->absorbed = true;
  }

  // What the chain makes and nobody else reads needs no memory, but one of few buffers until its last use.
  void make(size_t j) {
    std::vector<FlatOp>& ops = chains_[j];
    std::vector<size_t> busy;  // each buffer's last use
    for (size_t i = 0; i < ops.size(); i++) {
      const FlatOperand made = ops[i].operand[0];
      if (made.slot >= 0 || made.extent.number == 0) continue;
      if (lives_on(nodes_, ops[i].place, nodes_[j].get(), made.extent, memory_)) continue;
      size_t slot = 0, last = i;
      while (slot < busy.size() && busy[slot] >= i) slot++;
      for (size_t k = i; k < ops.size(); k++)
        for (int o = 0; o < (k == i ? 1 : ops[k].operands); o++)  // i itself may read what was there
          if (ops[k].operand[o].is(made) && same(ops[k].operand[o].extent, made.extent))
            ops[k].operand[o].slot = int(slot), last = k;
      busy.resize(std::max(busy.size(), slot + 1));
      busy[slot] = last;
    }
    auto chain = std::make_unique<ChainNode>(std::move(ops), i64(sizeof(T)));
    chain->cost = nodes_[j]->cost;
    chain->serial = nodes_[j]->serial;
    chain->find_uses();
    nodes_[j] = std::move(chain);
  }

  Nodes& nodes_;
  PassMemory& memory_;
  std::vector<std::vector<FlatOp>> chains_;  // at the place of their last kernel
};

}  // namespace

void fuse_chains(Nodes& nodes, PassMemory& memory) {
  Chains<float>(nodes, memory).find();
  Chains<double>(nodes, memory).find();
}

}  // namespace chainrule
