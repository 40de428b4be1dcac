#include "parallel/optimizer/adamw.h"

#include <algorithm>
#include <cmath>

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>

#include "parallel/optimizer/adamw_cuda.h"
#include "parallel/optimizer/value_gather.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr int64_t kBlock = 4 * 1024;  // elements: what one pass reads and writes stays in the nearest cache
constexpr int64_t kGrain = 4 * kBlock;

template <typename T, typename State>
void update_range(const State& state, const AdamWFactors& factors, int64_t begin, int64_t end) {
  const T* gradient = state.shard->gradient.template const_data_ptr<T>();
  T* master = state.master.template mutable_data_ptr<T>();
  T* m = state.m.template mutable_data_ptr<T>();
  T* v = state.v.template mutable_data_ptr<T>();
  for (int64_t i = begin; i < end; i += kBlock) {
    const int64_t n = std::min(kBlock, end - i);
    adamw_update(factors, n, gradient + i, master + i, m + i, v + i);
    if constexpr (std::is_same_v<T, float>) {
      if (state.value.defined()) {
        round_to_bf16(master + i, n, state.value.template mutable_data_ptr<c10::BFloat16>() + i);
      }
    }
  }
}

}  // namespace

ShardedAdamW::ShardedAdamW(const GradientReducer& reducer, const Mesh& mesh, OptimizerConfig config)
    : reducer_(reducer), mesh_(mesh), config_(std::move(config)), states_(reducer.buckets().size()) {
  for (size_t b = 0; b < states_.size(); ++b) {
    for (const Shard& shard : reducer_.shards_of(b)) {
      ShardState& state = states_[b].emplace_back();
      state.shard = &shard;
      const at::Tensor value = shard.parameter->value().detach().view(-1).narrow(
          0, shard.slice->offset + shard.range.begin, shard.range.size());
      const auto options = value.options().dtype(accumulate_dtype(value.scalar_type()));
      // Not zeroed yet: a dry run asks for the sizes of a model that may not fit here.
      state.m = at::empty(value.sizes(), options);
      state.v = at::empty(value.sizes(), options);
      if (value.dtype() == options.dtype()) {
        state.master = value;
        continue;
      }
      SY_CHECK(value.scalar_type() == at::kBFloat16);
      state.master = at::empty(value.sizes(), options);
      state.value = value;
    }
  }
}

void ShardedAdamW::initialise_all(uint64_t seed) {
  initialise_values(reducer_.parameters(), seed);
  for (const auto& bucket : states_) {
    for (const ShardState& state : bucket) {
      if (state.value.defined()) initialise(*state.shard->slice, state.shard->box, seed, state.master);
      state.m.zero_();
      state.v.zero_();
    }
  }
  updates_ = 0;
}

void ShardedAdamW::update_shard(const ShardState& state, const AdamWFactors& factors) const {
  at::parallel_for(0, state.master.numel(), kGrain, [&](int64_t begin, int64_t end) {
    AT_DISPATCH_FLOATING_TYPES(state.master.scalar_type(), "adamw",
                               [&] { update_range<scalar_t>(state, factors, begin, end); });
  });
}

double ShardedAdamW::decay_of(const ShardState& state, double lr) const {
  return state.shard->slice->weight_decay ? 1 - lr * config_.weight_decay : 1;
}

// A bucket's shards have one dtype.
void ShardedAdamW::update_on_device(const std::vector<ShardState>& states, const AdamWFactors& factors,
                                    double lr) const {
  std::vector<CudaShard> shards;
  for (const ShardState& state : states) {
    shards.push_back({.gradient = state.shard->gradient.const_data_ptr(),
                      .master = state.master.data_ptr(),
                      .m = state.m.data_ptr(),
                      .v = state.v.data_ptr(),
                      .value = state.value.defined() ? state.value.data_ptr() : nullptr,
                      .count = state.master.numel(),
                      .decay = decay_of(state, lr)});
  }
  adamw_update_cuda(element_of(states.front().master.scalar_type()), factors, shards.data(),
                    static_cast<int64_t>(shards.size()), current_cuda_stream());
}

absl::Status ShardedAdamW::update(double lr, double gradient_scale) {
  ++updates_;
  const auto t = static_cast<double>(updates_);
  AdamWFactors factors{.gradient_scale = gradient_scale,
                       .decay = 1,
                       .beta1 = config_.betas[0],
                       .beta2 = config_.betas[1],
                       .step_size = lr / (1 - std::pow(config_.betas[0], t)),
                       .root_bias_correction2 = std::sqrt(1 - std::pow(config_.betas[1], t)),
                       .epsilon = config_.epsilon};
  ValueGather gather(mesh_);
  for (size_t b = 0; b < states_.size(); ++b) {
    if (!states_[b].empty() && states_[b].front().master.is_cuda()) {
      update_on_device(states_[b], factors, lr);
    } else {
      for (const ShardState& state : states_[b]) {
        factors.decay = decay_of(state, lr);
        update_shard(state, factors);
      }
    }
    SY_RETURN_IF_ERROR(gather.start(reducer_.buckets()[b]));
  }
  return gather.finish();
}

absl::Status ShardedAdamW::gather_values() {
  ValueGather gather(mesh_);
  for (size_t b = 0; b < states_.size(); ++b) {
    for (const ShardState& state : states_[b]) {
      if (state.value.defined()) at::Tensor(state.value).copy_(state.master);
    }
    SY_RETURN_IF_ERROR(gather.start(reducer_.buckets()[b]));
  }
  return gather.finish();
}

std::vector<TensorPart> ShardedAdamW::state() const {
  std::vector<TensorPart> tensors;
  for (const auto& bucket : states_) {
    for (const auto& [shard, master, m, v, value] : bucket) {
      const ShardSpec& spec = shard->slice->spec;
      const auto add = [&](std::string name, const at::Tensor& flat) {
        tensors.push_back({std::move(name), flat.scalar_type(), spec.shape, shard->box, flat.view(shard->box.extent)});
      };
      add(spec.name, master);
      add(absl::StrCat("optimizer.m.", spec.name), m);
      add(absl::StrCat("optimizer.v.", spec.name), v);
    }
  }
  return tensors;
}

}  // namespace switchyard
