#include "launch/verify/job_parts.h"

#include <ATen/core/Tensor.h>

#include "launch/verify/exchange_parts.h"

namespace switchyard {

std::vector<TensorPart> gradient_parts(const Job& job) {
  std::vector<TensorPart> parts;
  for (const Shard& shard : job.reducer->shards()) {
    parts.push_back({.name = shard.slice->spec.name,
                     .dtype = shard.gradient.scalar_type(),
                     .shape = shard.slice->spec.shape,
                     .box = shard.box,
                     .data = shard.gradient.view(shard.box.extent)});
  }
  return parts;
}

namespace {

std::vector<TensorPart> optimizer_parts(const Job& job, bool moments) {
  std::vector<TensorPart> parts;
  for (TensorPart& part : job.optimizer->state()) {
    if (part.name.starts_with("optimizer.") == moments) parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

std::vector<TensorPart> master_parts(const Job& job) {
  return optimizer_parts(job, false);
}

std::vector<TensorPart> moment_parts(const Job& job) {
  return optimizer_parts(job, true);
}

std::vector<TensorPart> value_parts(const Job& job) {
  std::vector<TensorPart> parts;
  for (const Parameter* parameter : job.model->parameters()) {
    for (const Slice& slice : parameter->slices()) {
      parts.push_back({.name = slice.spec.name,
                       .dtype = parameter->value().scalar_type(),
                       .shape = slice.spec.shape,
                       .box = slice.spec.box,
                       .data = parameter->value_of(slice)});
    }
  }
  return parts;
}

std::vector<TensorPart> parts_of(const std::vector<RouterBuffer>& buffers) {
  std::vector<TensorPart> parts;
  for (const RouterBuffer& buffer : buffers) parts.push_back(whole_part(buffer.name, buffer.value));
  return parts;
}

std::vector<TensorPart> router_state_parts(const Job& job) {
  std::vector<TensorPart> all;
  for (const auto& [layer, moe] : job.model->moe_layers()) {
    for (TensorPart& part : parts_of(moe->router().buffers())) all.push_back(std::move(part));
  }
  return all;
}

}  // namespace switchyard
