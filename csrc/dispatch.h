// Which ISA's kernels run. Chosen once at import: the best that the CPU and the OS support, or CHAINRULE_ISA.
#pragma once
#include <string>
#include <vector>

#include "types.h"

namespace chainrule {

std::vector<std::string> isa_available();  // on this machine, best first
std::string isa_in_use();
void set_isa(const std::string& name);    // std::invalid_argument where the machine lacks it
std::vector<std::string> kernel_names();  // the KERNEL rows of kernels.def, in its order

// The row of kernels.def that this function is an instance of, on any ISA: its name and the text of its arguments.
// Another function is called "function".
struct KernelName {
  const char *name, *arguments;
};
KernelName kernel_name(const void* function);

// Tells the CPU that this thread spins.
void cpu_relax();

// While one lives, its thread computes as the contract says: round to nearest, exceptions masked, denormals kept.
// Then control and status are as they were before.
class FloatEnvironment {
 public:
  FloatEnvironment();
  ~FloatEnvironment();
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  u64 before_;
};

}  // namespace chainrule
