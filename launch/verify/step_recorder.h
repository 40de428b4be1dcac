// What a model on a mesh computes in a step, taken down while it trains as ever.
#pragma once

#include "launch/train/job.h"
#include "launch/verify/step_record.h"
#include "layers/models/decoder/decoder.h"

namespace switchyard {

class StepRecorder : public DecoderObserver {
 public:
  // Watches job.model until destroyed. `log` of its routers; null: routing is not recorded. Both outlive it.
  explicit StepRecorder(Job& job, const RouterLog* log = nullptr);
  ~StepRecorder() override;

  void block_input(int64_t layer, const at::Tensor& x_tD, const TokenBatch& batch) override;
  void logits(const at::Tensor& logits_tV, int64_t row, const TokenBatch& batch) override;
  void losses(const DecoderOutput& output, const TokenBatch& batch) override;

  const StepRecord& record() const { return record_; }
  const RoutingRecord& routing() const { return routing_; }

 private:
  Job& job_;
  const RouterLog* const log_;
  StepRecord record_;
  RoutingRecord routing_;
};

}  // namespace switchyard
