// The axes that a call names, and the (outer, n, inner) view of a contiguous array that kernels take.
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

// One axis as an index in [0, ndim): refuses what isn't an int or is out of range.
int axis_index(const char* op, const char* arg, py::handle axis, int ndim);

// None (every axis), an int or a sequence of distinct ints, as a flag per axis.
std::vector<bool> axis_flags(const char* op, const char* arg, py::handle axis, int ndim);

// A contiguous array seen as (outer, n, inner), of which n is the axis in question.
struct Form {
  i64 outer, n, inner;
};
Form form_of_axis(const Shape& shape, int axis);

// The shape left when the flagged axes are reduced, kept as 1 where keepdims.
Shape reduced_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims);

// The flagged axes of a contiguous array as passes of one (outer, n, inner) reduction each, the innermost first; the
// result of one is the input of the next. At least one pass (of n = 1 where no axis is flagged).
std::vector<Form> reduction_passes(const Shape& shape, const std::vector<bool>& reduced);

}  // namespace chainrule
