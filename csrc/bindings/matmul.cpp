#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// A matrix operand, possibly batched: its last two dimensions as they lie in memory.
template <class T>
struct Matrices {
  py::array array = no_array();  // keeps a copy alive
  const T* data;
  i64 rows, columns;  // of the product's operand, after `transposed`
  i64 ld;
  bool transposed;
  Shape batch;         // leading dimensions
  Shape batch_stride;  // in elements
};

// Views that a product can read as they are (unit stride along one of the last two dimensions, the other at least as
// long as a row) are not copied.
template <class T>
bool readable(const py::array& a, i64* ld, bool* transposed) {
  const i64 item = sizeof(T), d = a.ndim();
  const i64 rows = a.shape(d - 2), columns = a.shape(d - 1), down = a.strides(d - 2), across = a.strides(d - 1);
  if (!aligned_native(a) || a.size() == 0) return false;
  for (i64 i = 0; i < d; i++)
    if (a.strides(i) % item) return false;
  if ((columns == 1 || across == item) && (rows == 1 || down >= columns * item)) {
    *ld = rows == 1 ? columns : down / item;
    *transposed = false;
    return true;
  }
  if ((rows == 1 || down == item) && (columns == 1 || across >= rows * item)) {
    *ld = columns == 1 ? rows : across / item;
    *transposed = true;
    return true;
  }
  return false;
}

template <class T>
Matrices<T> matrices(const char* op, const char* arg, py::handle x, bool transpose) {
  if (!py::isinstance<py::array>(x)) refuse_type(op, arg, describe(x), "a NumPy array");
  auto a = py::reinterpret_borrow<py::array>(x);
  if (!has_dtype<T>(a)) input<T>(op, arg, x);  // refuses it
  if (a.ndim() < 2) refuse(op, arg, describe(a), "2 dimensions or more");
  Matrices<T> m;
  bool lies_transposed = false;
  if (!readable<T>(a, &m.ld, &lies_transposed)) {
    a = input<T>(op, arg, x).array;
    m.ld = a.shape(a.ndim() - 1);
    lies_transposed = false;
  }
  m.array = a;
  m.data = static_cast<const T*>(a.data());
  const i64 d = a.ndim(), rows = a.shape(d - 2), columns = a.shape(d - 1);
  m.rows = transpose ? columns : rows;
  m.columns = transpose ? rows : columns;
  m.transposed = transpose != lies_transposed;
  for (i64 i = 0; i < d - 2; i++) {
    m.batch.push_back(a.shape(i));
    m.batch_stride.push_back(a.shape(i) == 1 ? 0 : a.strides(i) / i64(sizeof(T)));
  }
  return m;
}

Shape broadcast(const char* op, const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); i++) {
    const i64 from_a = i < a.size() ? a[a.size() - 1 - i] : 1, from_b = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1)
      refuse(op, "the batch shapes " + str(a) + " of a and " + str(b) + " of b don't broadcast");
    out[out.size() - 1 - i] = from_a == 1 ? from_b : from_a;
  }
  return out;
}

template <class T>
i64 stride_in(const Matrices<T>& m, size_t dim, size_t dims) {
  const size_t missing = dims - m.batch.size();
  return dim < missing ? 0 : m.batch_stride[dim - missing];
}

// The batch as a coalesced space over c, a, b. Dimensions of one matrix vanish.
template <class T>
Strided batch_space(const char* op, const Shape& shape, i64 matrix, const Matrices<T>& a, const Matrices<T>& b) {
  Strided s{};
  Shape c_stride(shape.size());
  i64 step = matrix;
  for (size_t d = shape.size(); d-- > 0; step *= shape[d]) c_stride[d] = step;
  for (size_t d = 0; d < shape.size(); d++) {
    if (shape[d] == 1) continue;
    const i64 stride[3] = {c_stride[d], stride_in(a, d, shape.size()), stride_in(b, d, shape.size())};
    const i32 last = s.dims - 1;
    bool joins = last >= 0;
    for (int o = 0; o < 3 && joins; o++) joins = s.stride[o][last] == stride[o] * shape[d];
    if (!joins && s.dims == kMaxDims) refuse(op, "more than " + std::to_string(kMaxDims) + " batch dimensions");
    const i32 at = joins ? last : s.dims++;
    s.shape[at] = joins ? s.shape[at] * shape[d] : shape[d];
    for (int o = 0; o < 3; o++) s.stride[o][at] = stride[o];
  }
  return s;
}

template <class T>
py::array matmul_of(py::handle a_in, py::handle b_in, bool transpose_a, bool transpose_b) {
  auto a = matrices<T>("matmul", "a", a_in, transpose_a);
  const auto b = matrices<T>("matmul", "b", b_in, transpose_b);
  if (a.columns != b.rows)
    refuse("matmul", "the inner sizes of a, " + describe(a_in) + ", and b, " + describe(b_in) +
                         ", differ: " + std::to_string(a.columns) + " and " + std::to_string(b.rows));
  const Shape stack = broadcast("matmul", a.batch, b.batch);
  Shape shape = stack;
  shape.push_back(a.rows);
  shape.push_back(b.columns);
  py::array c = empty<T>("matmul", shape);  // refuses sizes whose products, which the space has, would overflow
  if (c.size() == 0) return c;
  Strided batch = batch_space("matmul", stack, a.rows * b.columns, a, b);
  i64 m = a.rows, n = b.columns, k = a.columns, batches = 1;
  // One b for a stack of a: the stack is one tall matrix.
  if (batch.dims == 1 && batch.stride[2][0] == 0 && !a.transposed && batch.stride[1][0] == m * a.ld) {
    m *= batch.shape[0];
    batch.dims = 0;
  }
  for (i32 d = 0; d < batch.dims; d++) batches *= batch.shape[d];
  const Work work(flops(2.0 * double(batches) * double(m) * double(n) * double(k)) +
                  bytes(sizeof(T) * (double(c.size()) + double(batches) * double(k) * double(m + n))));
  const Scratch<T> scratch(kernels<T>().matmul_scratch(batches, m, n, k, work.threads));
  launch(work, kernels<T>().matmul, data<T>(c), a.data, b.data, batch, m, n, k, a.ld, b.ld, a.transposed, b.transposed,
         static_cast<T*>(scratch));
  return c;
}

py::array matmul(py::handle a, py::handle b, bool transpose_a, bool transpose_b) {
  return by_dtype("matmul", "a", a,
                  [&](auto zero) { return matmul_of<decltype(zero)>(a, b, transpose_a, transpose_b); });
}

}  // namespace

BINDINGS(matmul) {
  define(m, "matmul", matmul, py::arg("a"), py::arg("b"), py::arg("transpose_a") = false,
         py::arg("transpose_b") = false);
}

}  // namespace chainrule
