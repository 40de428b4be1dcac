// What a model on a mesh computes in a step, taken down while it trains as ever.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/train/job.h"
#include "layers/models/decoder/decoder.h"
#include "layers/moe/router/router.h"
#include "parallel/checkpoint/tensor_part.h"

namespace switchyard {

// Parts of tensors that have the same names and shapes on every layout and in the reference; a step's tokens are
// numbered part by part.
struct StepRecord {
  std::vector<TensorPart> logits;            // "logits" [tokens, V]
  std::vector<TensorPart> auxiliary_losses;  // "layers.1.moe.aux_loss.part0" [1]; on every rank
  std::vector<TensorPart> token_counts;      // "layers.1.moe.tokens.part0" [E], … .dropped.part0 [1]; on every rank
  std::vector<TensorPart> input_gradients;   // "layers.1.input" [tokens, D]
};

// By part, then by MoE layer, in the order of layers.
using Choices = std::vector<std::vector<Choice>>;

class StepRecorder : public DecoderObserver {
 public:
  // Watches job.model until destroyed. The job outlives it.
  explicit StepRecorder(Job& job);
  ~StepRecorder() override;

  void block_input(int64_t layer, const at::Tensor& x_tD, const TokenBatch& batch) override;
  void logits(const at::Tensor& logits_TV, const TokenBatch& batch) override;

  // What was recorded since the last call. take_choices first, if at all.
  StepRecord take();
  // Of all ranks' tokens, equal on all ranks. Collective over `world`, the ranks of the mesh.
  absl::StatusOr<Choices> gather_choices(Communicator& world) const;

 private:
  void record_routers(const TokenBatch& batch);

  Job& job_;
  StepRecord record_;
  Choices choices_;  // this rank's
};

// Statistics of one part's routing as parts of the record.
void record_statistics(int64_t layer, int64_t part, const RouterStatistics& statistics, StepRecord& record);

}  // namespace switchyard
