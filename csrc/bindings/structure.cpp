#include "bindings/structure.h"

#include <cstring>

#include "bindings/layout.h"

namespace chainrule {
namespace {

struct Names {
  py::object array = py::str("_array"), requires_grad = py::str("_requires_grad"), fields = py::str("_fields");
};
const Names& names() {
  static const Names* const made = new Names;  // never destroyed: the interpreter is gone by then
  return *made;
}

py::object attribute(py::handle x, const py::object& name) {
  PyObject* value = PyObject_GetAttr(x.ptr(), name.ptr());
  if (!value) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

bool is_array(py::handle x) { return py::isinstance<py::array>(x); }

// a, or a copy that is aligned and has these strides.
py::array lying_in(const py::array& a, const Shape& strides) {
  if ((a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) && lies_in(a, strides)) return a;
  std::vector<py::ssize_t> steps(strides.begin(), strides.end());
  for (py::ssize_t& s : steps) s *= a.itemsize();
  py::array copy(a.dtype(), std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()), steps);
  static const py::handle copyto = py::object(py::module_::import("numpy").attr("copyto")).release();
  copyto(copy, a);
  return copy;
}

}  // namespace

bool is_plain(py::handle x) {
  PyObject* p = x.ptr();
  if (x.is_none() || PyLong_CheckExact(p) || PyFloat_CheckExact(p) || PyBool_Check(p) || PyUnicode_CheckExact(p) ||
      PyBytes_CheckExact(p) || PyComplex_CheckExact(p))
    return true;
  if (!PyTuple_CheckExact(p)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(p); i++)
    if (!is_plain(PyTuple_GET_ITEM(p, i))) return false;
  return true;
}

Pattern::Pattern(py::handle x, py::handle tensor_type) : type_(py::type::of(x)) {
  py::object array;
  if (py::isinstance(x, tensor_type)) {
    is_tensor_ = true;
    if (!attribute(x, names().requires_grad).cast<bool>()) array = attribute(x, names().array);
  } else if (is_array(x)) {
    array = py::reinterpret_borrow<py::object>(x);
  }
  if (array) {
    kind_ = kArray;
    const auto a = py::reinterpret_borrow<py::array>(array);
    dtype_ = a.dtype();
    shape_ = shape_of(a);
    strides_ = dense_strides(a);
    item_ = i64(a.itemsize());
  } else if (PyTuple_Check(x.ptr()) || PyList_Check(x.ptr())) {
    kind_ = kSequence;
    for (py::handle item : py::reinterpret_borrow<py::sequence>(x)) parts_.emplace_back(item, tensor_type);
  } else if (PyDict_Check(x.ptr())) {
    kind_ = kDict;
    for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(x)) {
      keys_.push_back(py::reinterpret_borrow<py::object>(key));
      parts_.emplace_back(value, tensor_type);
    }
  } else {
    kind_ = is_plain(x) ? kPlain : kSame;
    value_ = py::reinterpret_borrow<py::object>(x);
  }
}

bool Pattern::matches(py::handle x) const {
  PyObject* p = x.ptr();
  if (kind_ == kSame) return p == value_.ptr();
  if (reinterpret_cast<PyObject*>(Py_TYPE(p)) != type_.ptr()) return false;
  switch (kind_) {
    case kArray: {
      py::object array = py::reinterpret_borrow<py::object>(x);
      if (is_tensor_) {
        if (attribute(x, names().requires_grad).ptr() != Py_False) return false;
        array = attribute(x, names().array);
      }
      const auto* raw = py::detail::array_proxy(array.ptr());
      if (size_t(raw->nd) != shape_.size()) return false;
      for (int d = 0; d < raw->nd; d++)
        if (i64(raw->dimensions[d]) != shape_[size_t(d)]) return false;
      if (raw->descr != dtype_.ptr() && !py::dtype(py::reinterpret_borrow<py::dtype>(raw->descr)).equal(dtype_))
        return false;
      for (int d = 0; d < raw->nd; d++)
        if (i64(raw->strides[d]) != strides_[size_t(d)] * item_)
          return dense_strides(py::reinterpret_borrow<py::array>(array)) == strides_;
      return true;
    }
    case kSequence: {
      if (size_t(PySequence_Fast_GET_SIZE(p)) != parts_.size()) return false;
      for (size_t i = 0; i < parts_.size(); i++)
        if (!parts_[i].matches(PySequence_Fast_GET_ITEM(p, Py_ssize_t(i)))) return false;
      return true;
    }
    case kDict: {
      if (size_t(PyDict_Size(p)) != parts_.size()) return false;
      Py_ssize_t at = 0;
      PyObject *key, *value;
      for (size_t i = 0; PyDict_Next(p, &at, &key, &value); i++)
        if ((key != keys_[i].ptr() && !keys_[i].equal(py::handle(key))) || !parts_[i].matches(value)) return false;
      return true;
    }
    default: {
      const int same = p == value_.ptr() ? 1 : PyObject_RichCompareBool(p, value_.ptr(), Py_EQ);
      if (same < 0) throw py::error_already_set();
      return same == 1;
    }
  }
}

void Pattern::collect(py::handle x, std::vector<py::array>* into) const {
  PyObject* p = x.ptr();
  if (kind_ == kArray) {
    const py::object array = is_tensor_ ? attribute(x, names().array) : py::reinterpret_borrow<py::object>(x);
    into->push_back(lying_in(py::reinterpret_borrow<py::array>(array), strides_));
  } else if (kind_ == kSequence) {
    for (size_t i = 0; i < parts_.size(); i++) parts_[i].collect(PySequence_Fast_GET_ITEM(p, Py_ssize_t(i)), into);
  } else if (kind_ == kDict) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    for (size_t i = 0; PyDict_Next(p, &at, &key, &value); i++) parts_[i].collect(value, into);
  }
}

Result::Result(py::handle x, py::handle tensor_type, const std::function<bool(const void*)>& owned)
    : type_(py::type::of(x)) {
  PyObject* p = x.ptr();
  kind_ = kSame;
  if (py::isinstance(x, tensor_type)) {
    array_ = py::reinterpret_borrow<py::array>(attribute(x, names().array));
    if (owned(array_.data())) {
      kind_ = kTensor;
      type_ = py::reinterpret_borrow<py::object>(tensor_type);
    }
  } else if (PyTuple_Check(p) || PyList_Check(p)) {
    kind_ = PyList_Check(p) ? kList : py::hasattr(x, "_fields") ? kNamedTuple : kTuple;
    for (py::handle item : py::reinterpret_borrow<py::sequence>(x)) parts_.emplace_back(item, tensor_type, owned);
  } else if (PyDict_Check(p)) {
    kind_ = kDict;
    for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(x)) {
      keys_.push_back(py::reinterpret_borrow<py::object>(key));
      parts_.emplace_back(value, tensor_type, owned);
    }
  }
  if (kind_ == kSame) value_ = py::reinterpret_borrow<py::object>(x);
}

const py::array* Result::value() const {
  if (kind_ == kTensor && array_.size() == 1 && array_.dtype().kind() == 'f' && array_.itemsize() >= 4) return &array_;
  for (const Result& part : parts_)
    if (const py::array* found = part.value()) return found;
  return nullptr;
}

py::object Result::make() const {
  switch (kind_) {
    case kTensor: {
      const Shape strides = dense_strides(array_);
      const bool whole = lies_in(array_, strides);
      py::array copy =
          whole ? fresh_array(array_.dtype(), shape_of(array_), strides) : laid_out("compile", array_, strides);
      if (whole) std::memcpy(copy.mutable_data(), array_.data(), size_t(array_.nbytes()));
      auto* type = reinterpret_cast<PyTypeObject*>(type_.ptr());
      static const py::handle none = py::tuple(0).release();
      auto tensor = py::reinterpret_steal<py::object>(type->tp_new(type, none.ptr(), nullptr));
      if (!tensor || PyObject_SetAttr(tensor.ptr(), names().array.ptr(), copy.ptr())) throw py::error_already_set();
      return tensor;
    }
    case kTuple:
    case kNamedTuple: {
      py::tuple all(parts_.size());
      for (size_t i = 0; i < parts_.size(); i++) all[i] = parts_[i].make();
      return kind_ == kTuple ? py::object(all) : type_(*all);
    }
    case kList: {
      py::list all(parts_.size());
      for (size_t i = 0; i < parts_.size(); i++) all[i] = parts_[i].make();
      return std::move(all);
    }
    case kDict: {
      py::dict all;
      for (size_t i = 0; i < parts_.size(); i++) all[keys_[i]] = parts_[i].make();
      return std::move(all);
    }
    default:
      return value_;
  }
}

}  // namespace chainrule
