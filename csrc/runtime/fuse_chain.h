// An element-wise kernel over flat arrays, taken apart so that it can run on a block of them: what chains are made of.
#pragma once
#include "runtime/fuse_nodes.h"

namespace chainrule {

struct FlatOperand {
  char* memory;
  i64 step;                // bytes from element to element; 0 for a number
  i64 size;                // bytes from the first to the last
  Arena::Extent extent{};  // the block that it lies in
  int slot = -1;           // of the thread's own buffers, in place of memory
  bool overlaps(const FlatOperand& other) const {
    return memory < other.memory + other.size && other.memory < memory + size;
  }
  bool is(const FlatOperand& other) const { return memory == other.memory && step == other.step; }
};

struct FlatOp {
  static constexpr int kMostOperands = 3;
  using Run = void (*)(const FlatOp& op, Team& team, char* const* at, i64 n);
  Run run;
  void (*kernel)();
  std::string name;
  size_t place;  // in the list
  i64 n;
  int operands;
  FlatOperand operand[kMostOperands];  // the first is written
  double scalars[2];
};

// Whether the node is such a kernel, for arrays of T; fills in `op` but for its name and place.
template <class T>
bool read_flat(Node& node, FlatOp* op);

}  // namespace chainrule
