#include <limits>

#include <ATen/ATen.h>

#include "layers/moe/router/balance/terms.h"
#include "layers/moe/router/selection.h"

namespace switchyard {
namespace {

double tokens_of(const Scored& scored) {
  return static_cast<double>(std::max<int64_t>(1, scored.context.population));
}

class ZLoss : public BalanceTerm {
 public:
  explicit ZLoss(double coefficient) : BalanceTerm("z_loss", coefficient) {}
  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    sums.add("z_loss", scored.log_sums_T.square().sum(at::kDouble));
  }
  at::Tensor loss(const Scored& scored, const PopulationSums& sums) override {
    return sums["z_loss"] / tokens_of(scored);
  }
};

class EntropyLoss : public BalanceTerm {
 public:
  explicit EntropyLoss(double coefficient) : BalanceTerm("entropy_loss", coefficient) {}
  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    // A probability of 0 has a finite logarithm, and a finite gradient.
    const at::Tensor& p_TE = scored.probabilities_TE;
    const at::Tensor log_p_TE = p_TE.clamp_min(std::numeric_limits<float>::min()).log();
    sums.add("entropy_loss", -(p_TE * log_p_TE).sum(at::kDouble));
  }
  at::Tensor loss(const Scored& scored, const PopulationSums& sums) override {
    return sums["entropy_loss"] / tokens_of(scored);
  }
};

class ImportanceLoss : public BalanceTerm {
 public:
  explicit ImportanceLoss(double coefficient) : BalanceTerm("importance_loss", coefficient) {}
  void add(const Scored& scored, const Choice& choice, const at::Tensor& weights_N, PopulationSums& sums) override {
    const at::Tensor zeros = at::zeros({scored.logits_TE.size(1)}, at::kDouble);
    sums.add("importance_loss", zeros.index_add(0, choice.experts, weights_N.to(at::kDouble)));
  }
  at::Tensor loss(const Scored&, const PopulationSums& sums) override {
    return squared_variation(sums["importance_loss"]);
  }
};

}  // namespace

at::Tensor squared_variation(const at::Tensor& values_E) {
  const at::Tensor mean = values_E.mean();
  return (values_E - mean).square().mean() / mean.square().clamp_min(1e-20);
}

std::unique_ptr<BalanceTerm> make_z_loss(double coefficient) {
  return std::make_unique<ZLoss>(coefficient);
}
std::unique_ptr<BalanceTerm> make_importance(double coefficient) {
  return std::make_unique<ImportanceLoss>(coefficient);
}
std::unique_ptr<BalanceTerm> make_entropy(double coefficient) {
  return std::make_unique<EntropyLoss>(coefficient);
}

}  // namespace switchyard
