// What a run will hold in memory, before any of it is touched.
#pragma once

#include <cstdint>
#include <string>

#include "launch/train/job.h"

namespace switchyard {

struct MemoryEstimate {
  int64_t model_parameters = 0;                                       // logical elements of the whole model
  int64_t active_parameters = 0;                                      // of which a token meets so many
  int64_t rank_parameters = 0;                                        // elements that this rank holds
  int64_t values = 0, gradients = 0, optimizer = 0, activations = 0;  // bytes on this rank
  int64_t checkpoint = 0;                                             // the copies that are written in the background
  int64_t total() const { return values + gradients + optimizer + activations + checkpoint; }
};

// Parameters, gradients and optimizer state are counted exactly; activations by what the layers save for backward, with
// tokens spread evenly over experts. Local.
MemoryEstimate estimate_memory(const Job& job);

// "data 2 x tensor 1; experts: …".
std::string describe_layout(const MeshShape& shape);
// A few lines for people. `largest`: over ranks.
std::string describe(const MemoryEstimate& largest, const RunConfig& config, const MeshShape& shape);

}  // namespace switchyard
