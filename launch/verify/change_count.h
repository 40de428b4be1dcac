// How much a planted bug has changed, so that one that changed nothing is not taken for one that was not seen.
#pragma once

#include <atomic>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace switchyard {

// Of one rank. Any thread.
class ChangeCount {
 public:
  void add(int64_t numbers) { numbers_ += numbers; }
  // Notes how many elements differ; gives `after`.
  at::Tensor note(const at::Tensor& before, const at::Tensor& after);
  int64_t numbers() const { return numbers_; }

 private:
  std::atomic<int64_t> numbers_ = 0;
};

}  // namespace switchyard
