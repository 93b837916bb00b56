// One entry of a recording: a kernel with its arguments by value, or a check of values that eager calls make too.
#pragma once
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "runtime/arena.h"
#include "runtime/team.h"

namespace chainrule {

class Node {
 public:
  virtual ~Node() = default;
  virtual void run(Team& team) = 0;

  struct Touch {
    const void* memory;
    bool written;
  };
  virtual std::vector<Touch> touches() const = 0;  // null pointers left out
  virtual std::string name() const;
  virtual std::string arguments() const { return ""; }           // the sizes and options, as text
  virtual void* find(const std::type_info&) { return nullptr; }  // the argument of this type, to be changed
  // A check: whether the values are good, and the error that an eager call raises where they are not.
  virtual bool passes() const { return true; }
  virtual void raise() const {}
  virtual bool is_check() const { return false; }

  const void* kernel = nullptr;  // the function that runs: names it, and tells nodes apart
  double cost = 0;               // nanoseconds of one thread, as the binding estimated
  bool serial = true;            // not worth more than one thread
  bool absorbed = false;         // another node does its work (fuse.h)
  bool refreshed = false;        // its arguments are replaced later: part of an optimizer's update
  struct Use {
    Arena::Extent extent;
    bool written;
  };
  std::vector<Use> uses;  // the blocks behind its pointers
};

// Names a function that is no row of kernels.def.
void name_function(const void* function, const char* name);

std::string text(i64 value);
std::string text(i32 value);
std::string text(bool value);
std::string text(double value);
std::string text(float value);
std::string text(u64 value);
std::string text(Activation value);
std::string text(const Strided& space);
std::string text(const Window2d& window);
std::string text(const Conv2d& conv);
std::string text(const Segments& list);
// "m=64 n=10": values with the names that the kernel's row gives them; empty ones left out.
std::string with_names(const void* kernel, const std::vector<std::string>& values);
template <class T>
std::string text(const T&) {
  return "";
}

// An argument as a node keeps it: by value, with the items where it is a list. `count` is that of the call's Segments.
template <class P>
struct Held {
  std::remove_const_t<std::remove_reference_t<P>> value;
  Held(const std::remove_reference_t<P>& given, i64) : value(given) {}
  const auto& get() const { return value; }
  void touch(std::vector<Node::Touch>& into) const {
    if constexpr (std::is_pointer_v<std::remove_reference_t<P>>)
      if (value) into.push_back({value, !std::is_const_v<std::remove_pointer_t<std::remove_reference_t<P>>>});
  }
  void* self() { return &value; }
};

template <class Item>
struct HeldList {  // `count` arrays, or null
  std::vector<Item> items;
  HeldList(const Item* given, i64 count) : items(given, given ? given + count : given) {}
  const Item* get() const { return items.empty() ? nullptr : items.data(); }
  void touch(std::vector<Node::Touch>& into) const {
    for (Item p : items)
      if (p) into.push_back({p, !std::is_const_v<std::remove_pointer_t<Item>>});
  }
  void* self() { return nullptr; }
};
template <class T>
struct Held<T* const*> : HeldList<T*> {
  using HeldList<T*>::HeldList;
};
template <>
struct Held<const Segments&> {
  std::vector<i64> size, start;
  i64 count;
  Segments value;
  Held(const Segments& s, i64) : size(s.size, s.size + s.count), start(s.start, s.start + s.count + 1), count(s.count) {
    point();
  }
  Held(Held&& other) noexcept : size(std::move(other.size)), start(std::move(other.start)), count(other.count) {
    point();
  }
  void point() { value = {count, size.data(), start.data()}; }
  const Segments& get() const { return value; }
  void touch(std::vector<Node::Touch>&) const {}
  void* self() { return &value; }
};

inline i64 list_count() { return 0; }
template <class... Rest>
i64 list_count(const Segments& s, const Rest&...) {
  return s.count;
}
template <class First, class... Rest>
i64 list_count(const First&, const Rest&... rest) {
  return list_count(rest...);
}

template <class... Params>
class KernelNode final : public Node {
 public:
  using Kernel = void (*)(Team&, Params...);
  template <class... Args>
  explicit KernelNode(Kernel function, const Args&... args)
      : function_(function), held_(Held<Params>(static_cast<Params>(args), list_count(args...))...) {
    kernel = reinterpret_cast<const void*>(function);
  }
  void run(Team& team) override {
    std::apply([&](const auto&... held) { function_(team, held.get()...); }, held_);
  }
  std::vector<Touch> touches() const override {
    std::vector<Touch> all;
    std::apply([&](const auto&... held) { (held.touch(all), ...); }, held_);
    return all;
  }
  std::string arguments() const override {
    std::vector<std::string> values;
    std::apply([&](const auto&... held) { (values.push_back(text(held.get())), ...); }, held_);
    return with_names(kernel, values);
  }
  void* find(const std::type_info& type) override {
    void* found = nullptr;
    std::apply(
        [&](auto&... held) {
          ((found = !found && typeid(std::decay_t<decltype(held.get())>) == type ? held.self() : found), ...);
        },
        held_);
    return found;
  }

  template <size_t I>
  auto& argument() {
    return std::get<I>(held_).value;
  }

 private:
  Kernel function_;
  std::tuple<Held<Params>...> held_;
};

}  // namespace chainrule
