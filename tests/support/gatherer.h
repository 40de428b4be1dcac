// Collects the boxes of logical tensors from ranks that are threads into whole tensors.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/topology/box.h"

namespace switchyard {

class Gatherer {
 public:
  // `data`: numel of the box. Thread-safe.
  void add(const std::string& name, const std::vector<int64_t>& shape, const Box& box, const at::Tensor& data);
  // By name, in fp64. Fails the test where boxes overlap or leave holes.
  std::map<std::string, at::Tensor> take();

 private:
  struct Entry {
    at::Tensor values;
    at::Tensor times;  // how often each element was added
  };
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace switchyard
