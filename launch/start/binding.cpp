#include "launch/start/binding.h"

#include <fstream>
#include <set>

#include <absl/strings/str_cat.h>
#include <sched.h>

namespace switchyard {
namespace {

std::vector<int> allowed_cpus() {
  // Machines may have more processors than a cpu_set_t holds; the kernel says so by refusing a small set.
  for (int limit = CPU_SETSIZE; limit <= 1 << 20; limit *= 2) {
    cpu_set_t* set = CPU_ALLOC(limit);
    const size_t bytes = CPU_ALLOC_SIZE(limit);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    std::vector<int> cpus;
    for (int cpu = 0; known && cpu < limit; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (known) return cpus;
  }
  return {0};
}

std::string siblings_in_sys(int cpu) {
  std::ifstream file(absl::StrCat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
  std::string text;
  std::getline(file, text);
  return text;
}

}  // namespace

Binding binding_of(const std::vector<int>& cpus, const std::function<std::string(int)>& siblings_of) {
  Binding binding;
  std::set<std::string> cores;
  for (size_t first = 0; first < cpus.size();) {
    size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    absl::StrAppend(&binding.cpus, first == 0 ? "" : ",", cpus[first]);
    if (last > first) absl::StrAppend(&binding.cpus, "-", cpus[last]);
    first = last + 1;
  }
  for (const int cpu : cpus) {
    const std::string siblings = siblings_of(cpu);
    cores.insert(siblings.empty() ? absl::StrCat(cpu) : siblings);
  }
  binding.cores = static_cast<int>(cores.size());
  return binding;
}

Binding own_binding() {
  return binding_of(allowed_cpus(), siblings_in_sys);
}

}  // namespace switchyard
