// Batches of a data set in memory: rows gathered by index, of any dtype, as bytes.
#include <algorithm>
#include <cstring>

#include "bindings/arrays.h"
#include "bindings/launch.h"
#include "bindings/layout.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

constexpr i64 kChunkBytes = i64(1) << 18;

void copy_rows(Team& team, char* out, const char* in, const i64* index, i64 count, i64 row_bytes, i64 stride) {
  const i64 rows = row_bytes < kChunkBytes ? kChunkBytes / (row_bytes + 1) + 1 : 1;
  team.next_loop();
  for (i64 chunk; team.take((count + rows - 1) / rows, &chunk);)
    for (i64 i = chunk * rows; i < std::min(count, (chunk + 1) * rows); i++)
      std::memcpy(out + i * row_bytes, in + index[i] * stride, size_t(row_bytes));
}

// The strides, in elements, of an array whose rows lie as those of `a`; *dense: each of a's rows lies together.
Shape strides_of_rows(const py::array& a, bool* dense) {
  const Shape row(a.shape() + 1, a.shape() + a.ndim());
  const Shape strides = dense_strides(row, 1, [&](int, int d) { return i64(a.strides(d + 1)); });
  *dense = true;
  i64 size = 1;
  for (size_t d = 0; d < row.size(); d++) {
    *dense = *dense && (row[d] == 1 || i64(a.strides(int(d) + 1)) == strides[d] * i64(a.itemsize()));
    size *= row[d];
  }
  return joined({size}, strides);
}

py::array gather_rows(py::handle x, py::handle index) {
  const char* op = "gather_rows";
  if (!py::isinstance<py::array>(x)) refuse_type(op, "x", describe(x), "a NumPy array");
  py::array in = py::reinterpret_borrow<py::array>(x);
  if (in.dtype().attr("hasobject").cast<bool>()) refuse_type(op, "x", describe(x), "an array of numbers");
  if (in.ndim() == 0) refuse(op, "x", describe(x), "1 dimension or more");
  const auto rows = input<i64>(op, "index", index, 1);
  const i64 have = i64(in.shape(0));
  std::vector<i64> places(size_t(rows.size));
  for (i64 i = 0; i < rows.size; i++) {
    const i64 row = rows.data[i];
    if (row < -have || row >= have)
      throw py::index_error(std::string(op) + ": index " + std::to_string(row) + " at place " + std::to_string(i) +
                            " is out of range for " + std::to_string(have) + " rows");
    places[size_t(i)] = row < 0 ? row + have : row;
  }
  bool dense;
  Shape strides = strides_of_rows(in, &dense);
  if (!dense) {
    in = py::module_::import("numpy").attr("ascontiguousarray")(in);
    strides = strides_of_rows(in, &dense);
  }
  Shape shape(in.shape(), in.shape() + in.ndim());
  shape[0] = rows.size;
  const i64 item = i64(in.itemsize()), count = checked_size(op, shape, item > 0 ? item : 1);
  py::array out = fresh_array(in.dtype(), shape, strides);
  if (count > 0 && item > 0)
    launch(Work(bytes(2.0 * double(count) * double(item))), copy_rows, static_cast<char*>(out.mutable_data()),
           static_cast<const char*>(in.data()), places.data(), rows.size, count / rows.size * item, i64(in.strides(0)));
  return out;
}

}  // namespace

BINDINGS(data) {
  name_function(reinterpret_cast<const void*>(copy_rows), "gather_rows");
  define(m, "gather_rows", gather_rows, py::arg("x"), py::arg("index"));
}

}  // namespace chainrule
