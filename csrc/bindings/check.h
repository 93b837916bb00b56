// Checks of values: made by an eager call, and again by every replay of a recorded one.
#pragma once
#include <functional>
#include <optional>

#include "bindings/arrays.h"

namespace chainrule {

// Calls refuse(value), which throws, with the first value outside of [low, high) that isn't `except`.
void check_range(const Input<i64>& values, i64 low, i64 high, std::optional<i64> except,
                 std::function<void(i64)> refuse);

// The argument `index`: rows of a table of that many.
void check_rows(const char* op, const Input<i64>& index, i64 rows);

// An int32 that a kernel sets to 1 where a value is bad. check() calls refuse(), which throws, if one was.
class Flag {
 public:
  Flag();
  operator i32*() const { return flag_; }
  void check(std::function<void()> refuse) const;

 private:
  Scratch<i32> flag_;
};

}  // namespace chainrule
