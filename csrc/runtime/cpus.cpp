#include "runtime/cpus.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "runtime/team.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace chainrule {
namespace {

int cpus_of_mask() {
#ifdef __linux__
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {  // the call fails while the machine has more than the set holds
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t size = CPU_ALLOC_SIZE(cpus);
    const int failed = sched_getaffinity(0, size, set), error = errno, count = failed ? 0 : CPU_COUNT_S(size, set);
    CPU_FREE(set);
    if (count > 0) return count;
    if (error != EINVAL) break;
  }
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

bool read_words(const std::string& path, std::vector<std::string>* words) {
  std::ifstream file(path);
  words->clear();
  for (std::string word; file >> word;) words->push_back(word);
  return !words->empty();
}

// CPUs' worth of time, or 0 where no limit is set: version 2 has "max 100000" or "150000 100000" in one file.
double quota_v2(const std::string& folder) {
  std::vector<std::string> w;
  if (!read_words(folder + "/cpu.max", &w) || w.size() < 2 || w[0] == "max") return 0;
  const double quota = std::atof(w[0].c_str()), period = std::atof(w[1].c_str());
  return quota > 0 && period > 0 ? quota / period : 0;
}

double quota_v1(const std::string& folder) {
  std::vector<std::string> q, p;
  if (!read_words(folder + "/cpu.cfs_quota_us", &q) || !read_words(folder + "/cpu.cfs_period_us", &p)) return 0;
  const double quota = std::atof(q[0].c_str()), period = std::atof(p[0].c_str());  // -1: none
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The least limit of the group and all groups above it. Inside a container the path may be the host's: what isn't found
// under it is found at the mount itself, where the walk ends.
double least_quota(double (*quota)(const std::string&), const std::string& mount, std::string path) {
  double least = 0;
  for (;;) {
    const double q = quota(mount + path);
    if (q > 0 && (least == 0 || q < least)) least = q;
    if (path.empty()) return least;
    path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
}

double cgroup_cpus(const std::string& root) {
  double least = 0;
  const auto note = [&](double q) { least = q > 0 && (least == 0 || q < least) ? q : least; };
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/docker/1f", "0::/user.slice"
    const size_t a = line.find(':'), b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = "," + line.substr(a + 1, b - a - 1) + ",", path = line.substr(b + 1);
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers == ",,")
      for (const char* mount : {"", "/unified"}) note(least_quota(quota_v2, base + mount, path));
    if (controllers.find(",cpu,") != std::string::npos)
      for (const char* mount : {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"})
        note(least_quota(quota_v1, base + mount, path));
  }
  return least;
}

// OMP_NUM_THREADS may be a list, one number per nesting level.
int parse_threads(const char* text) {
  char* end;
  errno = 0;
  const long n = std::strtol(text, &end, 10);
  while (*end == ' ' || *end == '\t') end++;
  const bool good = end != text && (*end == 0 || *end == ',') && errno == 0 && n >= 1 && n <= kMostThreads;
  return good ? int(n) : 0;
}

}  // namespace

int usable_cpus(const std::string& root) {
  const int cpus = cpus_of_mask();
  const double quota = cgroup_cpus(root);
  return quota > 0 && quota < cpus ? std::max(1, int(std::ceil(quota))) : std::min(cpus, kMostThreads);
}

ThreadCount default_threads() {
  ThreadCount threads{0, ""};
  for (const char* name : {"CHAINRULE_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    if (threads.count || !text || !*text) continue;
    threads.count = parse_threads(text);
    if (!threads.count)
      threads.warning += std::string(name) + " is '" + text + "', want an integer from 1 to " +
                         std::to_string(kMostThreads) + "; it is ignored. ";
  }
  if (!threads.count) threads.count = usable_cpus();
  return threads;
}

int current_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

void leave_cpu([[maybe_unused]] int cpu) {
#ifdef __linux__
  if (cpu < 0 || cpu != sched_getcpu()) return;
  cpu_set_t allowed;  // machines of more than 1024 CPUs have others to go to
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  cpu_set_t others = allowed;
  CPU_CLR(cpu, &others);
  if (sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

}  // namespace chainrule
