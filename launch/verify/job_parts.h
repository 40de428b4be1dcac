// A job's gradients and parameters as parts of logical tensors.
#pragma once

#include <vector>

#include "launch/train/job.h"
#include "layers/moe/router/router.h"
#include "parallel/checkpoint/tensor_part.h"

namespace switchyard {

// Views of what this rank reduces and updates; over all ranks each element once.
std::vector<TensorPart> gradient_parts(const Job& job);
std::vector<TensorPart> master_parts(const Job& job);
// "optimizer.m.…" and "optimizer.v.…".
std::vector<TensorPart> moment_parts(const Job& job);
// Of all values that this rank computes with, whoever updates them.
std::vector<TensorPart> value_parts(const Job& job);

// Whole, equal on all ranks.
std::vector<TensorPart> parts_of(const std::vector<RouterBuffer>& buffers);
std::vector<TensorPart> router_state_parts(const Job& job);

}  // namespace switchyard
