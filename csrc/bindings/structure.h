// The arguments and the result of a recorded step: nested tuples, lists and dicts of tensors and plain values.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "bindings/arrays.h"

namespace chainrule {

// A number, a string, None, or a tuple of these: compared by value.
bool is_plain(py::handle x);

// What arguments must look like: tensors and arrays by shape, dtype and the order in which they lie, plain values by
// value, the rest (and tensors that require a gradient) by identity.
class Pattern {
 public:
  Pattern(py::handle example, py::handle tensor_type);
  bool matches(py::handle x) const;
  // The arrays in it, one after the other, dense and each lying as the example's does.
  void collect(py::handle x, std::vector<py::array>* into) const;

 private:
  enum Kind { kArray, kSequence, kDict, kPlain, kSame };
  Kind kind_;
  py::object type_, value_;  // kPlain, kSame: the value itself
  bool is_tensor_ = false;
  py::object dtype_;
  Shape shape_, strides_;  // strides in elements, of a dense array
  i64 item_ = 0;
  std::vector<py::object> keys_;
  std::vector<Pattern> parts_;
};

// A result to be made anew after each replay: tensors that the recording owns are copied, the rest is given as it was.
class Result {
 public:
  Result(py::handle example, py::handle tensor_type, const std::function<bool(const void*)>& owned);
  py::object make() const;
  // The first floating-point tensor of one element in it, which the recording owns: a loss. Null where there is none.
  const py::array* value() const;

 private:
  enum Kind { kTensor, kTuple, kNamedTuple, kList, kDict, kSame };
  Kind kind_;
  py::object type_, value_;
  py::array array_ = no_array();
  std::vector<py::object> keys_;
  std::vector<Result> parts_;
};

}  // namespace chainrule
