// Passes over a recorded list before it is planned: nodes that others can do along with their own work are absorbed.
// The bits stay as they are.
#pragma once
#include <memory>
#include <vector>

#include "runtime/node.h"

namespace chainrule {

using Nodes = std::vector<std::unique_ptr<Node>>;

// What passes need of the recording's memory.
class PassMemory {
 public:
  virtual ~PassMemory() = default;
  virtual bool outlives(const Arena::Extent& block) const = 0;  // the recorded call: somebody may read it
  virtual Arena::Extent add_block(size_t bytes) = 0;            // a block of its own
  virtual int threads() const = 0;                              // of a node that isn't serial
};

// All passes, in order.
void fuse(Nodes& nodes, PassMemory& memory);

// y = f(h) or y = h + r behind h = linear(x), conv2d(x) or batch_norm(x): done in the product's epilogue, while the
// sums are in registers or the cache, or in the norm's last loop. Not where something else reads h, as gelu's gradient
// does: with both to write, the epilogue took longer than a pass of its own (768 x 512: 640 us, 600 apart).
void fuse_epilogues(const Nodes& nodes, PassMemory& memory);

// dz = dy relu'(z) in front of the batch_norm_backward for which alone it is made: left to that node, which makes z
// again, from x. After fuse_epilogues, so that the forward nodes say which norms have a relu.
void fuse_norms(const Nodes& nodes, PassMemory& memory);

// dz = relu'(y) dx behind dx = max_pool2d_backward(dy), of this y's maxima: the maxima's mask on dy instead, in a block
// of its own. Overlapping windows too: they share the mask of the place that they share.
void fuse_pools(Nodes& nodes, PassMemory& memory);

// dz = dx f'(y) behind the linear_backward that makes dx, for this alone: in its product's epilogue.
void fuse_slopes(const Nodes& nodes, PassMemory& memory);

// total += g behind the linear_backward that makes g, a weight's or bias's gradient, for this sum alone: the product
// adds to the total.
void fuse_accumulation(const Nodes& nodes, PassMemory& memory);

// linear behind an embedding of many more tokens than the table has rows: the table's rows are multiplied, and the
// products looked up. Both bits and meaning stay, for a product's row depends on its own row of the operand alone.
void fuse_tables(Nodes& nodes, PassMemory& memory);

// Element-wise kernels of one size, each made of what the one before it made: one pass over memory, in which what only
// they use is never written.
void fuse_chains(Nodes& nodes, PassMemory& memory);

}  // namespace chainrule
