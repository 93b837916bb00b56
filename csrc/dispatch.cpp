#include "dispatch.h"

#include <cfenv>
#include <cstdlib>
#include <stdexcept>

#include "kernels.h"

namespace chainrule {

// Each ISA's copy of the kernels defines these two tables in kernels/table.cpp.
#define ISA(name)                         \
  namespace name {                        \
  extern const Kernels<float> table_f32;  \
  extern const Kernels<double> table_f64; \
  }
CHAINRULE_ISA_ROWS
#undef ISA

namespace {

struct Choice {
  const char* name;
  bool (*supported)();
  const Kernels<float>* f32;
  const Kernels<double>* f64;
};

// libgcc's check reads XCR0 too: an OS that doesn't save the wide registers counts as lacking them.
#if defined(__x86_64__)
[[maybe_unused]] bool supported_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
[[maybe_unused]] bool supported_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
#if defined(__aarch64__)
bool supported_neon() { return true; }  // part of the architecture's baseline
#endif
[[maybe_unused]] bool supported_generic() { return true; }

const Choice kChoices[] = {
#define ISA(name) {#name, supported_##name, &name::table_f32, &name::table_f64},
    CHAINRULE_ISA_ROWS
#undef ISA
};

const Choice* find(const std::string& what, const std::string& name) {
  for (const Choice& c : kChoices)
    if (name == c.name && c.supported()) return &c;
  std::string have;
  for (const std::string& n : isa_available()) have += (have.empty() ? "" : ", ") + n;
  throw std::invalid_argument(what + " is '" + name + "'; this build on this machine has: " + have);
}

const Choice* first_choice() {
  const char* forced = std::getenv("CHAINRULE_ISA");
  if (forced && *forced) return find("CHAINRULE_ISA", forced);
  for (const Choice& c : kChoices)
    if (c.supported()) return &c;
  throw std::runtime_error("this build of chainrule has no instruction set that this machine supports");
}

const Choice*& current() {
  static const Choice* choice = first_choice();
  return choice;
}

}  // namespace

std::vector<std::string> isa_available() {
  std::vector<std::string> names;
  for (const Choice& c : kChoices)
    if (c.supported()) names.push_back(c.name);
  return names;
}

std::string isa_in_use() { return current()->name; }

void set_isa(const std::string& name) { current() = find("set_isa: argument 'name'", name); }

std::vector<std::string> kernel_names() {
  return {
#define KERNEL(name, ...) #name,
#define SIZE(name, ...)
#include "kernels.def"
  };
}

namespace {

template <class T>
bool find_name(const Kernels<T>& table, const void* function, KernelName* found) {
#define KERNEL(name, ...)                                      \
  if (reinterpret_cast<const void*>(table.name) == function) { \
    *found = {#name, #__VA_ARGS__};                            \
    return true;                                               \
  }
#define SIZE(name, ...)
#include "kernels.def"
  return false;
}

}  // namespace

KernelName kernel_name(const void* function) {
  KernelName found = {"function", ""};
  for (const Choice& c : kChoices)
    if (find_name(*c.f32, function, &found) || find_name(*c.f64, function, &found)) break;
  return found;
}

// Measured on x86: reading the control word takes 12 ns, writing it 2. So it is read once, and put back unseen.
#if defined(__x86_64__)
void cpu_relax() { __builtin_ia32_pause(); }
namespace {
constexpr u64 kControl = 0x1F80, kStatus = 0x3F;
u64 read_float_environment() { return __builtin_ia32_stmxcsr(); }
void write_float_environment(u64 word) { __builtin_ia32_ldmxcsr(u32(word)); }
}  // namespace
#elif defined(__aarch64__)
void cpu_relax() { __asm__ volatile("yield"); }
namespace {
constexpr u64 kControl = 0, kStatus = u64(0xFFFFFFFF) << 32;  // the status register is kept above the control register
u64 read_float_environment() {
  u64 control, status;
  __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(status));
  return (control & 0xFFFFFFFF) | status << 32;
}
void write_float_environment(u64 word) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(word & 0xFFFFFFFF), "r"(word >> 32));
}
}  // namespace
#else
void cpu_relax() {}
namespace {
const u64 kControl = FE_TONEAREST, kStatus = 0;  // the standard library knows of no more than the rounding
u64 read_float_environment() { return u64(std::fegetround()); }
void write_float_environment(u64 word) { std::fesetround(int(word)); }
}  // namespace
#endif

FloatEnvironment::FloatEnvironment() : before_(read_float_environment()) {
  if ((before_ & ~kStatus) != kControl) write_float_environment(kControl | (before_ & kStatus));
}
FloatEnvironment::~FloatEnvironment() { write_float_environment(before_); }

template <>
const Kernels<float>& kernels<float>() {
  return *current()->f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return *current()->f64;
}

}  // namespace chainrule
