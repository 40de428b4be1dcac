// The processors that this process may run on.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace switchyard {

struct Binding {
  std::string cpus;  // as in Linux's lists: "0-3,8"
  int cores;         // physical cores among them; processors, where the kernel doesn't tell siblings
};

Binding own_binding();

// `siblings_of(cpu)`: what Linux says in /sys/…/cpuN/topology/thread_siblings_list, or empty. `cpus` ascending.
Binding binding_of(const std::vector<int>& cpus, const std::function<std::string(int)>& siblings_of);

}  // namespace switchyard
