// Parts of tensors from all ranks to all ranks, so that one layout's results meet another's: by box intersection, as
// checkpoints do it, but over the wire.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Collective. Every rank gives its own parts; `visit` sees every part of every rank in rank order, one at a time (what
// it is shown is gone afterwards). Errors: kCommunication.
absl::Status exchange_parts(Communicator& world, std::span<const TensorPart> own,
                            const std::function<void(const TensorPart&)>& visit);

// The parts of every rank, by rank, without their data. Collective. Errors: kCommunication.
absl::StatusOr<std::vector<std::vector<TensorPart>>> list_parts(Communicator& world, std::span<const TensorPart> own);

// Copies into `into` (boxes of the same tensor, any dtype) what lies in both.
void copy_overlap(const TensorPart& from, const TensorPart& into);

// Views of what lies in both, of equal shape; undefined where nothing does.
struct Overlap {
  at::Tensor a, b;
};
Overlap overlap(const TensorPart& a, const TensorPart& b);

// A whole tensor as one part.
TensorPart whole_part(std::string name, at::Tensor data);

}  // namespace switchyard
