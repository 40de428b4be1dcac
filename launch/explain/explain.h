// switchyard explain: which experts took which tokens, and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

struct ExplainOptions {
  std::string checkpoint;              // a checkpoint's folder, or a run's directory: its newest
  std::string text;                    // a text file, or
  std::string data;                    // a data set's PREFIX; one of the two
  int64_t tokens = 4096;               // at most so many are read, from the start
  std::string html = "routing.html";   // where the page goes; empty: nowhere
  std::string json;                    // likewise
  std::vector<std::string> overrides;  // of the saved config; by default the experts are spread over all ranks
};

// Rank 0 writes the files and prints a table. Collective over `world`. kMissingInput, kBadData, kBadConfig, kIo.
absl::Status explain(const ExplainOptions& options, Communicator& world);

}  // namespace switchyard
