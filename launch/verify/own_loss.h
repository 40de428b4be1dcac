// The loss held to the logits that it was computed from.
#pragma once

#include <span>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Σ over tokens of log Σ_v exp(logit_v) − logit_target, over the counted targets; in fp64.
struct OwnLoss {
  double loss = 0;
  double terms = 0;  // of what the loss is the difference: largest logit, target's logit, logarithm; their absolute sum
};

// logits: this rank's parts of "logits" [tokens, V]. targets_T: of all tokens of the step, on every rank; −1: not
// counted. All ranks get the same. Collective over `world`. Errors: kCommunication.
absl::StatusOr<OwnLoss> loss_of_logits(Communicator& world, std::span<const TensorPart> logits,
                                       const at::Tensor& targets_T);

}  // namespace switchyard
