// The reference proper: the plain decoder on rank 0, on the whole batch; the other ranks wait.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "launch/config/run_config.h"
#include "launch/data/batch_loader.h"
#include "launch/verify/one_rank.h"
#include "launch/verify/plain_decoder.h"
#include "launch/verify/reference.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

class PlainReference : public Reference {
 public:
  // `batches`: of all data ranks together; null except on rank 0. `margin`: relative size of the perturbations that may
  // explain a flipped choice. `tell`: a line of progress now and then; may be empty. `config` and `world` outlive it.
  PlainReference(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches, double margin,
                 std::function<void(const std::string&)> tell, Communicator& world);

  std::string describe() const override;
  bool rounds() const override { return false; }
  absl::StatusOr<ReferenceStep> run(int64_t step, const Choices& choices) override;
  std::vector<TensorPart> gradients() override;
  absl::StatusOr<double> update(int64_t step) override;
  std::vector<TensorPart> parameters() override;
  absl::Status adopted() override;
  std::vector<TensorPart> moments() override;
  std::vector<TensorPart> router_state() override;

 private:
  absl::StatusOr<ReferenceStep> compute(int64_t step, const Choices& choices);
  void run_part(const TokenBatch& batch, const std::vector<Choice>& choices, ReferenceStep& result);
  void tell_of(const TokenBatch& batch, const std::string& what);

  const RunConfig& config_;
  Communicator& world_;
  const double margin_;
  const std::function<void(const std::string&)> tell_;
  absl::Time told_ = absl::Now();
  const OneRank one_rank_;
  std::unique_ptr<BatchLoader> batches_;
  std::unique_ptr<PlainDecoder> model_;
};

}  // namespace switchyard
