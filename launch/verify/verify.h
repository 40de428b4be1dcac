// Proves, for a config, that a layout computes what one rank does: the layout trains as ever, a reference goes through
// the same steps, and all that they compute is compared.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "launch/verify/comparison.h"
#include "launch/verify/inject.h"
#include "launch/verify/reference.h"
#include "launch/verify/token_sources.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct VerifyOptions {
  const RunConfig& config;
  int64_t vocabulary = 0;
  TokenSupply tokens;
  int64_t steps = 2;
  std::string inject = {};                                 // kind of a planted bug; empty: none
  int64_t memory_bytes = 0;                                // that the reference may take on rank 0; 0: what is free
  std::function<void(const std::string&)> tell = nullptr;  // a line of progress, on rank 0; may be empty
  std::function<void(Injection&)> tamper = nullptr;        // a bug that is not on the list; tests plant it by hand
};

struct VerifyResult {
  std::string reference;  // what the layout was compared with
  std::vector<Row> rows;
  Flips own_flips;    // of the layout's choices by the routers' own inputs, over all steps
  Flips flips;        // by what the reference's routers see; of no tokens where a stand-in does not choose
  int64_t steps = 0;  // compared; the first step with a difference is the last
  std::vector<double> clip_factors;  // by step: what gradients were multiplied by
  int64_t planted_changes = 0;       // numbers that a planted bug has changed, over all ranks
  bool pass() const;
};

// Every step begins from the layout's parameters of the step before, and the reference's optimizer is given the
// layout's gradients: each row is judged on its own, and AdamW's division does not make noise look like a bug.
// Collective over `world`, whose size is the layout's; all ranks get the same result. Errors are those of train_step;
// kUsage for a bug that can't be planted here or changes nothing.
absl::StatusOr<VerifyResult> verify_layout(const VerifyOptions& options, Communicator& world);

}  // namespace switchyard
