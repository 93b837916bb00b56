// Arguments of sliding windows, as PyTorch spells them: an int for both axes, or a pair (height, width).
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

struct Pair {
  i64 h, w;
};
std::string str(Pair p);

// An int or a sequence of one or two, each in [least, 2^31): sums and products of two of them can't overflow.
Pair pair(const char* op, const char* arg, py::handle x, i64 least);

// A sequence of four sizes: batch, channels, height, width.
Shape four_sizes(const char* op, const char* arg, py::handle x);

}  // namespace chainrule
