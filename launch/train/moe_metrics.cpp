#include "launch/train/moe_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <absl/strings/str_cat.h>

namespace switchyard {
namespace {

// Of ascending values.
double percentile(const std::vector<int64_t>& values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double fraction = place - static_cast<double>(below);
  return (1 - fraction) * static_cast<double>(values[below]) + fraction * static_cast<double>(values[above]);
}

int64_t total(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

}  // namespace

std::map<std::string, double> load_figures(std::vector<int64_t> tokens_per_expert) {
  const double mean = static_cast<double>(total(tokens_per_expert)) / static_cast<double>(tokens_per_expert.size());
  if (mean == 0) return {};
  std::sort(tokens_per_expert.begin(), tokens_per_expert.end());
  double squares = 0;
  for (const int64_t tokens : tokens_per_expert) squares += (tokens - mean) * (tokens - mean);
  return {{"load_min", tokens_per_expert.front() / mean},
          {"load_max", tokens_per_expert.back() / mean},
          {"load_cv", std::sqrt(squares / static_cast<double>(tokens_per_expert.size())) / mean},
          {"load_p50", percentile(tokens_per_expert, 0.5) / mean},
          {"load_p95", percentile(tokens_per_expert, 0.95) / mean}};
}

void MoeMetrics::add_part(int64_t tokens) {
  ++parts_;
  tokens_ += tokens;
  for (const auto& [index, moe] : model_.moe_layers()) {
    const RouterStatistics& statistics = moe->statistics();
    Layer& layer = layers_[index];
    for (const auto& [name, value] : statistics.losses) layer.sums[name] += value;
    for (const auto& [name, value] : statistics.scalars) layer.sums[name] += value;
    layer.sums["entropy"] += statistics.entropy;
    layer.dropped += statistics.dropped;
    layer.tokens_per_expert.resize(statistics.tokens_per_expert.size());
    std::transform(statistics.tokens_per_expert.begin(), statistics.tokens_per_expert.end(),
                   layer.tokens_per_expert.begin(), layer.tokens_per_expert.begin(), std::plus<>());
    if (statistics.not_finite >= 0 && not_finite_.empty()) {
      not_finite_ =
          absl::StrCat("the router's logits of layer ", index, " were not finite on rank ", statistics.not_finite);
    }
  }
}

MoeFigures MoeMetrics::take() const {
  MoeFigures figures{.all = {}, .layers = {}, .not_finite = not_finite_};
  for (const auto& [index, layer] : layers_) {
    std::map<std::string, double>& mine = figures.layers[index];
    for (const auto& [name, sum] : layer.sums) {
      mine[name] = sum / static_cast<double>(parts_);
      if (name != "entropy") figures.all[name] += mine[name] / static_cast<double>(layers_.size());
    }
    const int64_t slots = total(layer.tokens_per_expert);
    mine["experts_per_token"] = static_cast<double>(slots) / static_cast<double>(std::max<int64_t>(1, tokens_));
    mine["drop_rate"] = slots > 0 ? static_cast<double>(layer.dropped) / static_cast<double>(slots) : 0.0;
    const std::map<std::string, double> load = load_figures(layer.tokens_per_expert);
    mine.insert(load.begin(), load.end());
    double& worst = figures.all["load_imbalance"];
    if (!load.empty()) worst = std::max(worst, load.at("load_max"));
  }
  return figures;
}

}  // namespace switchyard
