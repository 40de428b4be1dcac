// Where one rank is too small for the reference: a second, different layout of the same ranks and precision.
#pragma once

#include <memory>

#include <absl/status/statusor.h>

#include "launch/train/job.h"
#include "launch/train/train_step.h"
#include "launch/verify/reference.h"

namespace switchyard {

// The layout of the same ranks that differs in the most axes from `asked`. kOutOfMemory where there is none.
absl::StatusOr<ParallelConfig> other_layout(const ParallelConfig& asked, int ranks, const DecoderConfig& model);

class StandIn : public Reference {
 public:
  // `config`: the asked one with the other layout. `batches`: this data rank's on `mesh`. All outlive it.
  StandIn(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches, const Mesh& mesh);

  std::string describe() const override;
  bool rounds() const override { return true; }
  absl::StatusOr<ReferenceStep> run(int64_t step, const Choices& choices) override;
  std::vector<TensorPart> gradients() override;
  absl::StatusOr<double> update(int64_t step) override;
  std::vector<TensorPart> parameters() override;
  absl::Status adopted() override;
  std::vector<TensorPart> moments() override;
  std::vector<TensorPart> router_state() override;

 private:
  Recorder recorder_;
  const Choices* choices_ = nullptr;  // of the step
  std::unique_ptr<Job> job_;
  StepOutcome outcome_;  // of the step
};

}  // namespace switchyard
