// The part of a run's state that is not a tensor: what a checkpoint's manifest carries as run_state.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

namespace switchyard {

struct RunState {
  int64_t step = 0;            // steps done; also the data cursor
  int64_t updates = 0;         // optimizer updates applied: steps less those skipped
  int64_t tokens = 0;          // trained on
  int64_t skipped_in_row = 0;  // steps skipped since the last update
  std::string config;          // the resolved config, YAML
  int64_t vocabulary = 0;
  std::string data;  // tells the training data from any other (SequenceSource::fingerprint)
};

std::string to_json(const RunState& state);
// kBadData where `text` is not what to_json writes.
absl::StatusOr<RunState> parse_run_state(const std::string& text);

}  // namespace switchyard
