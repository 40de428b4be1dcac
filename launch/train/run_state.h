// The part of a run's state that is not a tensor: what a checkpoint's manifest carries as run_state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/statusor.h>

namespace switchyard {

// What decides over the last bits of results. Runs that differ in it agree to rounding only.
struct RunLayout {
  int ranks = 1, threads = 1;
  int data = 1, tensor = 1, expert = 1, expert_tensor = 1;
  std::string dispatcher = "all_to_all";
  bool operator==(const RunLayout&) const = default;
};
std::string describe(const RunLayout& layout);

struct RunState {
  int64_t step = 0;            // steps done; also the data cursor
  int64_t updates = 0;         // optimizer updates applied: steps less those skipped
  int64_t tokens = 0;          // trained on
  int64_t skipped_in_row = 0;  // steps skipped since the last update
  std::string config;          // the resolved config, YAML
  int64_t vocabulary = 0;
  std::string data;                      // tells the training data from any other (SequenceSource::fingerprint)
  std::optional<RunLayout> layout = {};  // that it was saved on; older checkpoints do not say
};

std::string to_json(const RunState& state);
// kBadData where `text` is not what to_json writes.
absl::StatusOr<RunState> parse_run_state(const std::string& text);

}  // namespace switchyard
