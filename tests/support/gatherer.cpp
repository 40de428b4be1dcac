#include "tests/support/gatherer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/part_of.h"

namespace switchyard {

void Gatherer::add(const std::string& name, const std::vector<int64_t>& shape, const Box& box, const at::Tensor& data) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto [it, fresh] = entries_.try_emplace(name);
  if (fresh) it->second = {at::zeros(shape, at::kDouble), at::zeros(shape, at::kInt)};
  part_of(it->second.values, box).copy_(data.detach().view(box.extent));
  part_of(it->second.times, box).add_(1);
}

std::map<std::string, at::Tensor> Gatherer::take() {
  std::map<std::string, at::Tensor> whole;
  for (auto& [name, entry] : entries_) {
    EXPECT_TRUE(entry.times.eq(1).all().item<bool>()) << name << " is not covered exactly once";
    whole[name] = entry.values;
  }
  return whole;
}

}  // namespace switchyard
