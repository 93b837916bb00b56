// Sizes or strides, one for each axis of an array, in place: every small call makes several of them, and none is worth
// the heap.
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "types.h"

namespace chainrule {

class Shape {
 public:
  static constexpr size_t kMostAxes = 64;  // NumPy has no more

  Shape() = default;
  Shape(std::initializer_list<i64> values) : Shape(values.begin(), values.end()) {}
  explicit Shape(size_t axes, i64 value = 0) {
    grow(axes);
    std::fill(begin(), end(), value);
  }
  template <class Iterator, class = std::enable_if_t<!std::is_integral_v<Iterator>>>
  Shape(Iterator first, Iterator last) {
    grow(size_t(last - first));
    std::copy(first, last, begin());
  }
  Shape(const Shape& other) : Shape(other.begin(), other.end()) {}
  Shape& operator=(const Shape& other) {
    axes_ = other.axes_;
    std::copy(other.begin(), other.end(), begin());
    return *this;
  }

  size_t size() const { return axes_; }
  bool empty() const { return axes_ == 0; }
  i64* begin() { return values_; }
  i64* end() { return values_ + axes_; }
  const i64* begin() const { return values_; }
  const i64* end() const { return values_ + axes_; }
  i64& operator[](size_t axis) { return values_[axis]; }
  i64 operator[](size_t axis) const { return values_[axis]; }
  i64& back() { return values_[axes_ - 1]; }
  i64 back() const { return values_[axes_ - 1]; }
  void push_back(i64 value) {
    grow(axes_ + 1);
    back() = value;
  }
  friend bool operator==(const Shape& a, const Shape& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  void grow(size_t axes) {
    if (axes > kMostAxes)
      throw pybind11::value_error("an array of " + std::to_string(axes) + " dimensions, want 64 at most");
    axes_ = axes;
  }
  size_t axes_ = 0;
  i64 values_[kMostAxes];
};

inline Shape joined(Shape first, const Shape& then) {
  for (i64 value : then) first.push_back(value);
  return first;
}

}  // namespace chainrule
