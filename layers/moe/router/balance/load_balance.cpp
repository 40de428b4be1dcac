#include <map>
#include <utility>

#include <ATen/ATen.h>

#include "layers/moe/router/balance/terms.h"
#include "layers/moe/router/selection.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

class LoadBalance : public BalanceTerm {
 public:
  LoadBalance(double coefficient, int64_t experts) : BalanceTerm("aux_loss", coefficient), experts_(experts) {}

  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    sums.add("aux_loss.probabilities", scored.probabilities_TE.sum(0, /*keepdim=*/false, at::kDouble));
  }
  at::Tensor loss(const Scored& scored, const PopulationSums& sums) override {
    const at::Tensor slots_E = counted(scored, sums["slots"].detach());
    const at::Tensor shares_E = slots_E / slots_E.sum().clamp_min(1);
    const double tokens = static_cast<double>(std::max<int64_t>(1, scored.context.population));
    return static_cast<double>(experts_) * (shares_E * sums["aux_loss.probabilities"]).sum() / tokens;
  }

 protected:
  virtual at::Tensor counted(const Scored&, const at::Tensor& slots_E) { return slots_E; }
  const int64_t experts_;
};

class RunningLoadBalance : public LoadBalance {
 public:
  using LoadBalance::LoadBalance;

 protected:
  // A part that is computed again (recomputed layers) takes its own place once more.
  at::Tensor counted(const Scored& scored, const at::Tensor& slots_E) override {
    const TokenContext& context = scored.context;
    if (!context.training) return slots_E;
    if (context.step != step_) slots_of_part_.clear();
    step_ = context.step;
    slots_of_part_[context.part] = slots_E;
    at::Tensor total = at::zeros_like(slots_E);
    for (const auto& [part, slots] : slots_of_part_) {
      if (part <= context.part) total += slots;
    }
    return total;
  }

 private:
  int64_t step_ = -1;
  std::map<int64_t, at::Tensor> slots_of_part_;
};

class SequenceLoadBalance : public BalanceTerm {
 public:
  SequenceLoadBalance(double coefficient, int64_t experts) : BalanceTerm("aux_loss", coefficient), experts_(experts) {}

  void add(const Scored& scored, const Choice& choice, const at::Tensor&, PopulationSums& sums) override {
    const TokenContext& context = scored.context;
    SY_CHECK_LT(int64_t{0}, context.sequence);
    const int64_t sequences = (context.population + context.sequence - 1) / context.sequence;
    const int64_t tokens = scored.x_TD.size(0);
    const at::Tensor sequence_T =
        at::div(at::arange(context.first_token, context.first_token + tokens, at::kLong), context.sequence, "floor");
    const at::Tensor p_TE = scored.probabilities_TE.to(at::kDouble);
    sums.add("aux_loss.probabilities", at::zeros({sequences, experts_}, at::kDouble).index_add(0, sequence_T, p_TE));
    const at::Tensor place_N = sequence_T.index_select(0, slot_tokens(choice)) * experts_ + choice.experts;
    sums.add("aux_loss.slots", at::bincount(place_N, {}, sequences * experts_).view({sequences, experts_}));
  }
  at::Tensor loss(const Scored& scored, const PopulationSums& sums) override {
    const at::Tensor slots_SE = sums["aux_loss.slots"];
    const at::Tensor shares_SE = slots_SE / slots_SE.sum(1, true).clamp_min(1);
    const at::Tensor means_SE = sums["aux_loss.probabilities"] / static_cast<double>(scored.context.sequence);
    return static_cast<double>(experts_) * (shares_SE * means_SE).sum(1).mean();
  }

 private:
  const int64_t experts_;
};

}  // namespace

std::unique_ptr<BalanceTerm> make_load_balance(double coefficient, const std::string& over, int64_t experts) {
  if (over == "sequence") return std::make_unique<SequenceLoadBalance>(coefficient, experts);
  if (over == "running") return std::make_unique<RunningLoadBalance>(coefficient, experts);
  SY_CHECK_EQ(over, "population");
  return std::make_unique<LoadBalance>(coefficient, experts);
}

}  // namespace switchyard
