// Gradients of logical tensors, put together from what the ranks hold of them.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

class LogicalGradients {
 public:
  // Adds this rank's boxes to the whole tensors. Right where every replica's gradient is partial. Any thread.
  void add(const ParameterList& parameters);
  const std::map<std::string, at::Tensor>& whole() const { return whole_; }

 private:
  std::mutex mutex_;
  std::map<std::string, at::Tensor> whole_;
};

}  // namespace switchyard
