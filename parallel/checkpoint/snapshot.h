// A copy of a rank's parts in host memory, which training may go on beside while it is written.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/checkpoint/tensor_part.h"

namespace switchyard {

class Snapshot {
 public:
  // Copies the data of `parts`, once; the memory of the last snapshot is used again where it is large enough. What is
  // allocated is the parts' bytes, each part 64-byte aligned.
  void take(std::span<const TensorPart> parts);
  // What was taken last, until the next one is.
  std::span<const TensorPart> parts() const { return parts_; }

 private:
  at::Tensor buffer_;  // bytes
  std::vector<TensorPart> parts_;
};

}  // namespace switchyard
