#include "layers/moe/router/balance/load_bias.h"

#include <ATen/ATen.h>

namespace switchyard {

LoadBias::LoadBias(const std::string& name, int64_t experts, double rate)
    : name_(name), rate_(rate), bias_E_(at::zeros({experts}, at::kFloat)) {}

at::Tensor LoadBias::apply(const at::Tensor& scores_TE) const {
  return rate_ > 0 ? scores_TE + bias_E_.to(scores_TE.scalar_type()) : scores_TE;
}

void LoadBias::observe(const TokenContext& context, const std::vector<int64_t>& slots) {
  if (rate_ == 0 || !context.training) return;
  if (context.step != step_) slots_of_part_.clear();
  step_ = context.step;
  slots_of_part_[context.part] = slots;
}

void LoadBias::finish_step() {
  if (slots_of_part_.empty()) return;
  at::Tensor load_E = at::zeros(bias_E_.sizes(), at::kDouble);
  for (const auto& [part, slots] : slots_of_part_) load_E += at::tensor(slots, at::kLong);
  bias_E_ += rate_ * at::sign(load_E.mean() - load_E).to(at::kFloat);
  slots_of_part_.clear();
}

std::vector<RouterBuffer> LoadBias::buffers() const {
  if (rate_ == 0) return {};
  return {{name_ + ".bias", bias_E_}};
}

}  // namespace switchyard
