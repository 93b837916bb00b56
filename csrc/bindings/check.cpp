#include "bindings/check.h"

#include <algorithm>
#include <atomic>

#include "bindings/launch.h"

namespace chainrule {
namespace {

class RangeCheck final : public Node {
 public:
  RangeCheck(const Input<i64>& values, i64 low, i64 high, std::optional<i64> except, std::function<void(i64)> refuse)
      : data_(values.data), size_(values.size), low_(low), high_(high), except_(except), refuse_(std::move(refuse)) {}
  // The same by a team, where the values are many.
  bool passes_now() const {
    if (size_ <= kChunk) return passes();
    Scan scan{*this};
    chainrule::run(Work(bytes(8.0 * double(size_))), {look, &scan, true});
    return !scan.bad;
  }
  bool is_check() const override { return true; }
  bool passes() const override { return first_bad(0, size_) == size_; }
  void raise() const override { refuse_(data_[first_bad(0, size_)]); }
  void run(Team&) override {}
  std::vector<Touch> touches() const override { return {{data_, false}}; }
  std::string name() const override { return "check_range"; }
  std::string arguments() const override {
    return "size=" + text(size_) + " low=" + text(low_) + " high=" + text(high_);
  }

 private:
  static constexpr i64 kChunk = 32768;
  struct Scan {
    const RangeCheck& check;
    std::atomic<bool> bad{false};
  };
  static void look(void* closure, Team& team) {
    Scan& scan = *static_cast<Scan*>(closure);
    const i64 size = scan.check.size_;
    team.next_loop();
    for (i64 c; team.take((size + kChunk - 1) / kChunk, &c);) {
      const i64 end = std::min(size, (c + 1) * kChunk);
      if (scan.check.first_bad(c * kChunk, end) < end) scan.bad.store(true, std::memory_order_relaxed);
    }
  }
  i64 first_bad(i64 begin, i64 end) const {
    if (low_ >= high_ && !except_) return begin;
    return kernels<float>().first_outside(data_, begin, end, low_, high_, except_.value_or(low_));
  }
  const i64* data_;
  i64 size_, low_, high_;
  std::optional<i64> except_;
  std::function<void(i64)> refuse_;
};

class FlagCheck final : public Node {
 public:
  FlagCheck(i32* flag, std::function<void()> refuse) : flag_(flag), refuse_(std::move(refuse)) {}
  bool is_check() const override { return true; }
  bool passes() const override { return *flag_ == 0; }
  void raise() const override {
    *flag_ = 0;
    refuse_();
  }
  void run(Team&) override {}
  std::vector<Touch> touches() const override { return {{flag_, false}}; }
  std::string name() const override { return "check_flag"; }

 private:
  i32* flag_;
  std::function<void()> refuse_;
};

}  // namespace

void check_range(const Input<i64>& values, i64 low, i64 high, std::optional<i64> except,
                 std::function<void(i64)> refuse) {
  auto check = std::make_unique<RangeCheck>(values, low, high, except, std::move(refuse));
  if (!check->passes_now()) check->raise();
  Recording* recording = Recording::active();
  if (recording && values.size > 0) recording->add(std::move(check));
}

void check_rows(const char* op, const Input<i64>& index, i64 rows) {
  check_range(index, 0, rows, std::nullopt, [=](i64 bad) {
    refuse(op, "index", "holding " + std::to_string(bad), "rows of a table of " + std::to_string(rows));
  });
}

Flag::Flag() : flag_((Recording::Kept(), 1)) { *flag_ = 0; }

void Flag::check(std::function<void()> refuse) const {
  FlagCheck check(flag_, std::move(refuse));
  if (!check.passes()) check.raise();
  if (Recording* recording = Recording::active()) recording->add(std::make_unique<FlagCheck>(std::move(check)));
}

}  // namespace chainrule
