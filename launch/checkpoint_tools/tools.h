// What `switchyard checkpoint` does to checkpoints on disk. All calls are collective over `world`, which may be one
// process; ranks share the work where that says so, and all get the same status. Data that does not match its checksum
// is never passed on: kBadData. `memory` is of data alone, and 1 MiB at least. Paths are of a checkpoint, or of a run
// or a folder whose newest one is meant.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// Where a tool speaks: rank 0 only, null elsewhere.
struct ToolOutput {
  std::ostream* out = nullptr;
  std::ostream* progress = nullptr;  // a terminal, if any
};

// A line for each checkpoint of a run, newest first, and whether it is valid (files' data is not read).
absl::Status list_checkpoints_of(const std::string& path, Communicator& world, const ToolOutput& output);

// The tensors that match any of `patterns` as a tree with dtypes, shapes and sizes; with `boxes`, what each file holds.
absl::Status show_checkpoint(const std::string& path, const std::vector<std::string>& patterns, bool boxes,
                             Communicator& world, const ToolOutput& output);

// Reads all of it; ranks share the files. kBadData after a line for each thing that is damaged.
absl::Status verify_checkpoint(const std::string& path, Communicator& world, const ToolOutput& output);

struct DiffOptions {
  std::vector<std::string> patterns = {};
  double tolerance = -1;  // kBadData where an element deviates by more, or a tensor is in one alone; below 0: never
  int64_t memory = int64_t{256} << 20;  // bytes a rank
};
// A line for each tensor that is not the same, with its largest deviation; ranks share the tensors.
absl::Status diff_checkpoints(const std::string& a, const std::string& b, const DiffOptions& options,
                              Communicator& world, const ToolOutput& output);

struct ReshardOptions {
  std::string output = {};              // folder; the checkpoint is output/step-…, which must not exist
  int files = 1;                        // of about equal size; ranks share them
  int64_t memory = int64_t{256} << 20;  // bytes a rank
};
// Writes the checkpoint with every tensor cut along its first dimension over so many files.
absl::Status reshard_checkpoint(const std::string& path, const ReshardOptions& options, Communicator& world,
                                const ToolOutput& output);

struct ExtractOptions {
  std::vector<std::string> patterns = {};  // none: all tensors
  std::string output = {};                 // file, which must not exist
  int64_t memory = int64_t{256} << 20;     // bytes a rank
};
// Writes whole tensors, and those that are named twice (tied embeddings) once, as one safetensors file; ranks share its
// rows.
absl::Status extract_tensors(const std::string& path, const ExtractOptions& options, Communicator& world,
                             const ToolOutput& output);

}  // namespace switchyard
