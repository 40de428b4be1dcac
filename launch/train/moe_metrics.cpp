#include "launch/train/moe_metrics.h"

#include <algorithm>
#include <numeric>

namespace switchyard {

void MoeMetrics::add_part() {
  size_t layer = 0;
  for (const auto& block : model_.blocks()) {
    if (!block->moe()) continue;
    const RouterStatistics& statistics = block->moe()->statistics();
    ++samples_;
    aux_loss_ += statistics.aux_loss;
    z_loss_ += statistics.z_loss;
    if (layer == tokens_per_expert_.size()) tokens_per_expert_.emplace_back(statistics.tokens_per_expert.size());
    std::transform(statistics.tokens_per_expert.begin(), statistics.tokens_per_expert.end(),
                   tokens_per_expert_[layer].begin(), tokens_per_expert_[layer].begin(), std::plus<>());
    ++layer;
  }
}

std::map<std::string, double> MoeMetrics::take() const {
  if (samples_ == 0) return {};
  double worst = 0;
  for (const std::vector<int64_t>& tokens : tokens_per_expert_) {
    const double total = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
    if (total == 0) continue;
    const double most = static_cast<double>(*std::max_element(tokens.begin(), tokens.end()));
    worst = std::max(worst, most * static_cast<double>(tokens.size()) / total);
  }
  const double samples = static_cast<double>(samples_);
  return {{"aux_loss", aux_loss_ / samples}, {"z_loss", z_loss_ / samples}, {"load_imbalance", worst}};
}

}  // namespace switchyard
