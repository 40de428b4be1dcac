#include "parallel/optimizer/value_gather.h"

#include <ATen/Functions.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr size_t kMostCalls = 2;

}  // namespace

absl::Status ValueGather::start(const Bucket& bucket) {
  const int ranks = mesh_.group_size(bucket.replicated);
  if (ranks == 1) return absl::OkStatus();
  if (calls_.size() == kMostCalls) SY_RETURN_IF_ERROR(complete_oldest());

  Call call{.bucket = &bucket, .elements = {}, .received = {}, .work = {}};
  for (int owner = 0; owner < ranks; ++owner) call.elements.push_back(bucket.owned_elements(owner));
  const auto options = bucket.members.front().parameter->value().options().requires_grad(false);
  call.received = at::empty({bucket.elements}, options);
  const std::vector<at::Tensor> own = bucket.values_of(mesh_.group_index(bucket.replicated));
  const at::Tensor send = own.empty() ? at::empty({0}, options) : pack(own);
  call.work = mesh_.group(bucket.replicated, Purpose::kGradient).all_gather(send, call.received, call.elements);
  calls_.push_back(std::move(call));
  return absl::OkStatus();
}

absl::Status ValueGather::finish() {
  while (!calls_.empty()) SY_RETURN_IF_ERROR(complete_oldest());
  return absl::OkStatus();
}

absl::Status ValueGather::complete_oldest() {
  Call call = std::move(calls_.front());
  calls_.pop_front();
  SY_RETURN_IF_ERROR(annotate(call.work.wait(), "gathering updated parameters"));
  const int own = mesh_.group_index(call.bucket->replicated);
  int64_t offset = 0;
  for (int owner = 0; owner < static_cast<int>(call.elements.size()); offset += call.elements[owner++]) {
    if (owner == own) continue;
    int64_t begin = offset;
    for (at::Tensor& part : call.bucket->values_of(owner)) {
      part.copy_(call.received.narrow(0, begin, part.numel()));
      begin += part.numel();
    }
  }
  return absl::OkStatus();
}

}  // namespace switchyard
