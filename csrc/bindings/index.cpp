// Reading and writing by index along an axis; triangles and running sums, which take a shape apart in the same way.
#include "bindings/axes.h"
#include "bindings/broadcast.h"
#include "bindings/check.h"
#include "bindings/launch.h"
#include "bindings/losses.h"
#include "bindings/registry.h"

namespace chainrule {
namespace {

// Places are in [low, high); a recorded call is checked again by each replay.
void want_in_range(const char* op, const Input<i64>& index, i64 low, i64 high) {
  check_range(index, low, high, std::nullopt, [=](i64 place) {
    refuse(op, "index", "holding " + std::to_string(place),
           "places in [" + std::to_string(low) + ", " + std::to_string(high) + ")");
  });
}

int axis_of(const char* op, py::handle axis, int ndim) {
  if (ndim == 0) refuse(op, "x", "0-d", "1 dimension or more");
  return axis_index(op, "axis", axis, ndim);
}

// Nanoseconds of a pass over so many elements whose places are looked up.
double looked_up(i64 elements, i64 item) {
  return bytes(2.0 * double(item) * double(elements)) + 0.5 * double(elements);
}

py::array index_select(py::handle from, py::handle index, py::handle axis) {
  const char* op = "index_select";
  const py::array x = movable(op, "x", from);
  const int d = axis_of(op, axis, int(x.ndim()));
  const auto places = indices(op, "index", index);
  if (places.ndim != 1) refuse(op, "index", describe(index), "1 dimension");
  Shape shape = shape_of(x);
  const Form f = form_of_axis(shape, d);
  want_in_range(op, places, 0, f.n);
  shape[size_t(d)] = places.size;
  py::array y = empty(op, x.dtype(), shape);
  if (y.size() > 0)
    launch(Work(bytes(2.0 * double(y.nbytes()))), kernels<float>().index_select, y.mutable_data(), x.data(),
           places.data, f.outer, f.n, places.size, f.inner, i64(x.itemsize()));
  return y;
}

py::array gather(py::handle from, py::handle index, py::handle axis) {
  const char* op = "gather";
  const py::array x = movable(op, "x", from);
  const int d = axis_of(op, axis, int(x.ndim()));
  const auto places = indices(op, "index", index);
  Shape want = shape_of(x);
  const Form f = form_of_axis(want, d);
  if (places.ndim == int(want.size())) want[size_t(d)] = places.shape(d);
  if (places.shape() != want) refuse(op, "index", describe(index), "the shape of x but for the axis, " + str(want));
  want_in_range(op, places, 0, f.n);
  py::array y = empty(op, x.dtype(), want);
  if (y.size() > 0)
    launch(Work(looked_up(places.size, i64(x.itemsize()))), kernels<float>().gather, y.mutable_data(), x.data(),
           places.data, f.outer, f.n, want[size_t(d)], f.inner, i64(x.itemsize()));
  return y;
}

// What the writing kernels take: y in place, and where of it the elements of source go.
struct Write {
  py::array y, source;
  Input<i64> places;
  Form form;
  i64 count;
  Dtype dtype;
};

// `rows`: index has one dimension, and names rows; else it has source's shape.
Write write(const char* op, py::handle out, py::handle index, py::handle from, py::handle axis, bool rows) {
  const Dtype dtype = dtype_of(op, "y", out);
  if (dtype_of(op, "source", from) != dtype)
    refuse_type(op, "source", describe(from), "the dtype of y, " + std::string(py::str(numpy_dtype(dtype))));
  Write w = {
      py::reinterpret_borrow<py::array>(out), movable(op, "source", from), indices(op, "index", index), {}, 0, dtype};
  if (!w.y.writeable()) refuse(op, "y", describe(w.y) + ", read-only", "a writeable array");
  if (!usable(w.y))
    refuse(op, "y", describe(w.y) + ", strided, misaligned or byte-swapped",
           "a C-contiguous, aligned array of native byte order");
  Shape want = shape_of(w.y);
  if (want.empty()) refuse(op, "y", describe(w.y), "1 dimension or more");
  const int d = axis_index(op, "axis", axis, int(want.size()));
  w.form = form_of_axis(want, d);
  if (rows && w.places.ndim != 1) refuse(op, "index", describe(index), "1 dimension");
  if (w.source.ndim() == w.y.ndim()) want[size_t(d)] = rows ? w.places.size : i64(w.source.shape(d));
  if (shape_of(w.source) != want) refuse(op, "source", describe(from), "the shape of y but for the axis, " + str(want));
  if (!rows && w.places.shape() != want) refuse(op, "index", describe(index), "the shape of source, " + str(want));
  w.count = want[size_t(d)];
  want_in_range(op, w.places, 0, w.form.n);
  if (may_overlap(w.y, w.source)) w.source = contiguous(op, w.source);
  if (may_overlap(w.y, w.places.array)) {
    w.places.array = contiguous(op, w.places.array);
    w.places.data = static_cast<const i64*>(w.places.array.data());
  }
  return w;
}

template <class F>
py::array move(const char* op, py::handle out, py::handle index, py::handle from, py::handle axis, bool rows,
               F&& kernel) {
  Write w = write(op, out, index, from, axis, rows);
  const i64 item = i64(w.y.itemsize());
  if (w.source.size() > 0)
    launch(Work(looked_up(i64(w.source.size()), item)), kernel(kernels<float>()), w.y.mutable_data(), w.places.data,
           w.source.data(), w.form.outer, w.form.n, w.count, w.form.inner, item);
  return w.y;
}

template <class F>
py::array sum(const char* op, py::handle out, py::handle index, py::handle from, py::handle axis, bool rows,
              F&& kernel) {
  return by_dtype(op, "y", out, [&](auto zero) {
    using T = decltype(zero);
    Write w = write(op, out, index, from, axis, rows);
    if (w.source.size() > 0)
      launch(Work(looked_up(i64(w.source.size()), sizeof(T))), kernel(kernels<T>()),
             static_cast<T*>(w.y.mutable_data()), w.places.data, static_cast<const T*>(w.source.data()), w.form.outer,
             w.form.n, w.count, w.form.inner);
    return w.y;
  });
}

py::array index_places(py::handle index, i64 n, py::handle base, bool from_end) {
  const char* op = "index_places";
  if (n < 0) refuse(op, "n", std::to_string(n), "zero or more");
  const auto i = indices(op, "index", index);
  want_in_range(op, i, from_end ? -n : 0, n);
  const View v = view<i64>(op, "index", i.array);
  const View b = base.is_none() ? v : view<i64>(op, "base", base);
  const Broadcast to = broadcast(op, {{"base", b}, {"index", v}}, Walk::in_c_order);
  py::array y = empty<i64>(op, to.shape);
  launch(Work(bytes(24.0 * double(to.size))), kernels<float>().index_places, data<i64>(y),
         base.is_none() ? static_cast<const i64*>(nullptr) : b.as<i64>(), v.as<i64>(), to.space, n);
  return y;
}

template <class F>
py::array triangle(const char* op, py::handle from, i64 diagonal, F&& kernel) {
  const py::array x = movable(op, "x", from);
  if (x.ndim() < 2) refuse(op, "x", describe(from), "2 dimensions or more");
  py::array y = empty(op, x.dtype(), shape_of(x));
  const i64 rows = i64(x.shape(x.ndim() - 2)), columns = i64(x.shape(x.ndim() - 1));
  const i64 far = rows + columns;  // no diagonal beyond: sums with it can't overflow
  diagonal = diagonal < -far ? -far : diagonal > far ? far : diagonal;
  if (y.size() > 0)
    launch(Work(bytes(2.0 * double(y.nbytes()))), kernel(kernels<float>()), y.mutable_data(), x.data(),
           i64(x.size()) / rows / columns, rows, columns, diagonal, i64(x.itemsize()));
  return y;
}

py::array cumsum(py::handle x, py::handle axis) {
  return by_dtype("cumsum", "x", x, [&](auto zero) {
    using T = decltype(zero);
    const auto in = input<T>("cumsum", "x", x);
    const Form f = form_of_axis(in.shape(), axis_of("cumsum", axis, in.ndim));
    py::array y = empty<T>("cumsum", in.shape());
    if (in.size > 0)
      launch(Work(bytes(2.0 * sizeof(T) * double(in.size)) + double(in.size)), kernels<T>().cumsum, data<T>(y), in.data,
             f.outer, f.n, f.inner);
    return y;
  });
}

}  // namespace

BINDINGS(index) {
  using py::arg;
  define(m, "index_places", index_places, arg("index"), arg("n"), arg("base") = py::none(), arg("from_end") = true);
  define(m, "index_select", index_select, arg("x"), arg("index"), arg("axis"));
  define(m, "gather", gather, arg("x"), arg("index"), arg("axis"));
#define WRITE(name, how, rows)                                                                         \
  define(                                                                                              \
      m, #name,                                                                                        \
      [](py::handle y, py::handle index, py::handle source, py::handle axis) {                         \
        return how(#name, y, index, source, axis, rows, [](const auto& table) { return table.name; }); \
      },                                                                                               \
      arg("y"), arg("index"), arg("source"), arg("axis"));
  WRITE(index_copy, move, true)
  WRITE(index_add, sum, true)
  WRITE(scatter, move, false)
  WRITE(scatter_add, sum, false)
#undef WRITE
#define TRIANGLE(name)                                                                     \
  define(                                                                                  \
      m, #name,                                                                            \
      [](py::handle x, i64 diagonal) {                                                     \
        return triangle(#name, x, diagonal, [](const auto& table) { return table.name; }); \
      },                                                                                   \
      arg("x"), arg("diagonal") = 0);
  TRIANGLE(tril)
  TRIANGLE(triu)
#undef TRIANGLE
  define(m, "cumsum", cumsum, arg("x"), arg("axis"));
}

}  // namespace chainrule
