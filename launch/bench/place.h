// Where a benchmark ran.
#pragma once

#include <string>
#include <vector>

namespace switchyard {

struct BenchPlace {
  int threads = 1;                     // of each rank
  std::vector<std::string> cpus = {};  // that each rank may run on, as Linux lists them: "0-3,8"
  std::string device = "cpu";          // of the first rank, as ChosenDevice describes it

  int ranks() const { return static_cast<int>(cpus.size()); }
};

}  // namespace switchyard
