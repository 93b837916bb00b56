#include "runtime/node.h"

#include <cstdio>
#include <map>

#include "dispatch.h"

namespace chainrule {
namespace {

std::map<const void*, const char*>& function_names() {
  static std::map<const void*, const char*> names;
  return names;
}

}  // namespace

void name_function(const void* function, const char* name) { function_names()[function] = name; }

std::string Node::name() const {
  const auto found = function_names().find(kernel);
  return found == function_names().end() ? kernel_name(kernel).name : found->second;
}

// "T* y, const T* x, i64 n": the last word before each comma.
std::string with_names(const void* kernel, const std::vector<std::string>& values) {
  const std::string row = kernel_name(kernel).arguments;
  std::string all;
  size_t at = 0;
  for (const std::string& value : values) {
    const size_t comma = row.find(',', at), end = comma == std::string::npos ? row.size() : comma;
    const size_t space = end > at ? row.rfind(' ', end - 1) : std::string::npos;
    const std::string name = space == std::string::npos || space < at ? "" : row.substr(space + 1, end - space - 1);
    if (!value.empty()) all += (all.empty() ? "" : " ") + (name.empty() ? "" : name + "=") + value;
    at = comma == std::string::npos ? row.size() : comma + 1;
  }
  return all;
}

std::string text(i64 value) { return std::to_string(value); }
std::string text(i32 value) { return std::to_string(value); }
std::string text(u64) { return ""; }
std::string text(bool value) { return value ? "true" : "false"; }
std::string text(double value) {
  char s[32];
  std::snprintf(s, sizeof s, "%g", value);
  return s;
}
std::string text(float value) { return text(double(value)); }
std::string text(Activation value) {
  const char* const names[] = {"none", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"};
  return names[int(value)];
}
std::string text(const Strided& space) {
  std::string s;
  for (i32 d = 0; d < space.dims; d++) s += (d ? "x" : "") + std::to_string(space.shape[d]);
  return space.dims ? s : "1";
}
std::string text(const Window2d& w) { return text(w.h) + "x" + text(w.w) + " by " + text(w.kh) + "x" + text(w.kw); }
std::string text(const Conv2d& c) {
  return text(c.batch) + "x" + text(c.cin) + "x" + text(c.window) + " to " + text(c.cout);
}
std::string text(const Segments& list) {
  return std::to_string(list.count) + " arrays of " + std::to_string(list.start[list.count]);
}

}  // namespace chainrule
