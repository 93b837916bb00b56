// Fresh arrays on blocks of the pool, or of the step that is being recorded. Every result is one: what it costs, every
// small call pays, so the steps between NumPy and the pool are as few as can be.
#include "bindings/arrays.h"
#include "bindings/registry.h"
#include "runtime/pool.h"

namespace chainrule {
namespace {

PyTypeObject* g_recorded_type = nullptr;  // chainrule.recording.arrays.Recorded; lives as long as the process

// An array's base: gives the block back when the last array on it is gone.
struct Block {
  PyObject_HEAD;
  void* memory;
  Arena* arena;  // null: the pool's
};
PyTypeObject* g_block_type = nullptr;

void* allocate(Arena* arena, size_t bytes) { return arena ? arena->allocate(bytes) : pool_allocate(bytes); }
void release(Arena* arena, void* memory) { arena ? arena->release(memory) : pool_release(memory); }

void release_block(PyObject* self) {
  const auto* const block = reinterpret_cast<Block*>(self);
  release(block->arena, block->memory);
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

py::object make_block(Arena* arena, void* memory) {
  Block* const block = PyObject_New(Block, g_block_type);
  if (!block) {
    release(arena, memory);
    throw py::error_already_set();
  }
  block->memory = memory;
  block->arena = arena;
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(block));
}

}  // namespace

py::array fresh_array(const py::dtype& dtype, const Shape& shape, const Shape& strides) {
  const py::ssize_t item = dtype.itemsize();
  const size_t axes = shape.size();
  Py_intptr_t sizes[Shape::kMostAxes], steps[Shape::kMostAxes];
  size_t bytes = size_t(item);
  for (size_t d = 0; d < axes; d++) {
    sizes[d] = Py_intptr_t(shape[d]);
    bytes *= size_t(shape[d]);
    if (!strides.empty()) steps[d] = Py_intptr_t(strides[d]) * item;
  }
  Arena* const arena = Arena::current();
  void* const memory = allocate(arena, bytes);
  const py::object block = make_block(arena, memory);
  const auto& api = py::detail::npy_api::get();
  const int flags = py::detail::npy_api::NPY_ARRAY_WRITEABLE_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  PyTypeObject* const type = arena && g_recorded_type ? g_recorded_type : api.PyArray_Type_;
  PyObject* const made = api.PyArray_NewFromDescr_(type, py::dtype(dtype).release().ptr(), int(axes), sizes,
                                                   strides.empty() ? nullptr : steps, memory, flags, nullptr);
  if (!made) throw py::error_already_set();
  api.PyArray_SetBaseObject_(made, block.inc_ref().ptr());
  return py::reinterpret_steal<py::array>(made);
}

BINDINGS(fresh) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(release_block)}, {0, nullptr}};
  constexpr unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  static PyType_Spec spec = {"chainrule._core.Block", int(sizeof(Block)), 0, flags, slots};
  g_block_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!g_block_type) throw py::error_already_set();
  define(
      m, "set_recorded_type",
      [](py::handle type) { g_recorded_type = reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr()); },
      py::arg("type"));
}

}  // namespace chainrule
