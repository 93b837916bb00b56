// How many threads to start with.
#pragma once
#include <string>

namespace chainrule {

// CHAINRULE_NUM_THREADS, else OMP_NUM_THREADS, else usable_cpus(). `warning` says which bad value was passed over.
struct ThreadCount {
  int count;
  std::string warning;
};
ThreadCount default_threads();

// The CPUs that this process may use: its affinity mask, and a container's share of CPU time (cgroup quota, versions 1
// and 2), rounded up. `root` is put before /proc and /sys, for tests.
int usable_cpus(const std::string& root = "");

// The CPU that the calling thread is on; -1 where that isn't known.
int current_cpu();
// Takes the calling thread to another of the CPUs that it may use, if it is on this one.
void leave_cpu(int cpu);

}  // namespace chainrule
