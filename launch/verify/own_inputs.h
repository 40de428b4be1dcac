// Parts of a layout's step held to what they were given by the layout itself: the loss to its logits, routers to their
// inputs. What comes before is judged elsewhere, so that here even bf16 leaves fp32's rounding alone.
#pragma once

#include <memory>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/data/batch_loader.h"
#include "launch/verify/bounds.h"
#include "launch/verify/comparison.h"
#include "launch/verify/router_judge.h"
#include "launch/verify/step_record.h"

namespace switchyard {

class OwnInputs {
 public:
  // `batches`: of all data ranks together, without a planted bug; null except on rank 0. All arguments outlive it.
  OwnInputs(const RunConfig& config, std::unique_ptr<BatchLoader> batches, Communicator& world);

  // Before the layout's step. Local.
  void begin_step(const Job& job);

  struct Result {
    std::vector<Row> rows;
    Choices choices;  // of the whole population
    Flips flips;
  };
  // After it. `loss`: what the step reported. Collective over `world`; all ranks get the same. Errors: kCommunication,
  // and those of reading data.
  absl::StatusOr<Result> compare(int64_t step, const StepRecord& record, const RoutingRecord& routing, double loss);

 private:
  absl::Status load(int64_t step);
  absl::Status compare_loss(int64_t step, const StepRecord& record, double loss, std::vector<Row>& rows);
  absl::Status compare_part(int64_t step, int64_t part, const RoutingRecord& routing, Result& result);

  const RunConfig& config_;
  Communicator& world_;
  const std::unique_ptr<BatchLoader> batches_;
  const std::unique_ptr<RouterJudge> judge_;
  std::vector<TokenBatch> parts_;  // of the step, on rank 0
};

}  // namespace switchyard
