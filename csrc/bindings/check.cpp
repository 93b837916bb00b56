#include "bindings/check.h"

#include "runtime/recording.h"

namespace chainrule {
namespace {

class RangeCheck final : public Node {
 public:
  RangeCheck(const Input<i64>& values, i64 low, i64 high, std::optional<i64> except, std::function<void(i64)> refuse)
      : data_(values.data), size_(values.size), low_(low), high_(high), except_(except), refuse_(std::move(refuse)) {}
  bool is_check() const override { return true; }
  bool passes() const override { return first_bad() == size_; }
  void raise() const override { refuse_(data_[first_bad()]); }
  void run(Team&) override {}
  std::vector<Touch> touches() const override { return {{data_, false}}; }
  std::string name() const override { return "check_range"; }
  std::string arguments() const override {
    return "size=" + text(size_) + " low=" + text(low_) + " high=" + text(high_);
  }

 private:
  i64 first_bad() const {
    for (i64 i = 0; i < size_; i++)
      if ((data_[i] < low_ || data_[i] >= high_) && !(except_ && data_[i] == *except_)) return i;
    return size_;
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
  if (!check->passes()) check->raise();
  Recording* recording = Recording::active();
  if (recording && values.size > 0) recording->add(std::move(check));
}

Flag::Flag() : flag_((Recording::Kept(), 1)) { *flag_ = 0; }

void Flag::check(std::function<void()> refuse) const {
  FlagCheck check(flag_, std::move(refuse));
  if (!check.passes()) check.raise();
  if (Recording* recording = Recording::active()) recording->add(std::make_unique<FlagCheck>(std::move(check)));
}

}  // namespace chainrule
