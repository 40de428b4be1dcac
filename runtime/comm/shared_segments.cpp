#include "runtime/comm/shared_segments.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <unistd.h>

#include "runtime/comm/launcher.h"

namespace switchyard {

void SharedSegments::hide() {
  const std::optional<Launcher> launcher = find_launcher(&std::getenv);
  if (!launcher) return;
  const std::string own_end = absl::StrCat(".", launcher->local_rank);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t start = line.find("/dev/shm/vader_segment.");
    if (start == std::string::npos || !absl::EndsWith(line, own_end)) continue;
    const std::string name = line.substr(start);
    if (std::find(names_.begin(), names_.end(), name) == names_.end() && ::unlink(name.c_str()) == 0) {
      names_.push_back(name);
    }
  }
}

void SharedSegments::show() const {
  for (const std::string& name : names_) std::ofstream file(name);
}

}  // namespace switchyard
