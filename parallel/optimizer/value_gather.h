// Gives all ranks that hold a box the values that its owners have updated.
#pragma once

#include <deque>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>

#include "parallel/gradient/bucket.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// start() bucket after bucket, in the same order on all ranks, each once its owned values are written; finish() at the
// end. At most two buckets are on their way at a time. Errors: kCommunication.
class ValueGather {
 public:
  explicit ValueGather(const Mesh& mesh) : mesh_(mesh) {}

  // Collective over the bucket's replicated group. The bucket outlives finish().
  absl::Status start(const Bucket& bucket);
  absl::Status finish();

 private:
  struct Call {
    const Bucket* bucket;
    std::vector<int64_t> elements;  // of each owner
    at::Tensor received;
    Work work;
  };

  absl::Status complete_oldest();

  const Mesh& mesh_;
  std::deque<Call> calls_;
};

}  // namespace switchyard
