// Norms of tensors whose parts lie over ranks.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include <absl/status/statusor.h>

#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct Norm {
  double norm = 0;
  int64_t elements = 0;
};
using Norms = std::map<std::string, Norm>;

// parts: this rank's; all ranks together hold each tensor once. All ranks get the same. Collective over `world`.
// Errors: kCommunication.
absl::StatusOr<Norms> norms_of(Communicator& world, std::span<const TensorPart> parts);

}  // namespace switchyard
