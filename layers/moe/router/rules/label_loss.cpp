#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "layers/moe/router/rules/rules.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

class LabelLoss : public BalanceTerm {
 public:
  LabelLoss(double coefficient, int64_t labels, int64_t experts, const std::string& layer)
      : BalanceTerm("label_loss", coefficient), labels_(labels), layer_(layer) {
    const at::Tensor labels_L = at::arange(labels, at::kLong);
    const at::Tensor begin = at::div(labels_L * experts, labels, "floor").unsqueeze(1);
    const at::Tensor end = at::div((labels_L + 1) * experts, labels, "floor").unsqueeze(1);
    const int64_t most = (experts + labels - 1) / labels;
    const at::Tensor ids_LM = begin + at::arange(most, at::kLong);
    owned_LM_ = ids_LM.clamp_max(experts - 1);
    beyond_LM_ = at::zeros(ids_LM.sizes(), at::kDouble).masked_fill_(ids_LM.ge(end), kNever);
  }

  void add(const Scored& scored, const Choice&, const at::Tensor&, PopulationSums& sums) override {
    const int64_t tokens = scored.x_TD.size(0);
    const at::Tensor tags_T =
        scored.context.tags.defined() ? scored.context.tags : at::full({tokens}, int64_t{-1}, at::kLong);
    const at::Tensor outside_T = tags_T.ge(labels_).logical_or(tags_T.lt(-1));
    const at::Tensor labelled_T = tags_T.ge(0).logical_and(outside_T.logical_not());
    const at::Tensor label_T = tags_T.clamp(0, labels_ - 1);
    const at::Tensor& logits_TE = scored.logits_TE;
    const at::Tensor owned_TM = logits_TE.gather(1, owned_LM_.index_select(0, label_T)) +
                                beyond_LM_.to(logits_TE.scalar_type()).index_select(0, label_T);
    const at::Tensor log_owned_T = at::logsumexp(owned_TM, 1) - scored.log_sums_T;
    const at::Tensor right_T = owned_TM.detach().amax(1).eq(logits_TE.detach().amax(1)).logical_and(labelled_T);
    sums.add("label_loss", -at::where(labelled_T, log_owned_T, 0).sum(at::kDouble));
    sums.add("label_loss.labelled", labelled_T.sum());
    sums.add("label_loss.outside", outside_T.sum());
    sums.add("label_loss.right", right_T.sum());
  }

  at::Tensor loss(const Scored&, const PopulationSums& sums) override {
    const auto outside = sums["label_loss.outside"].item<int64_t>();
    if (outside > 0) {
      throw StatusError(
          error(ErrorCategory::kBadData,
                absl::StrCat(layer_, ": ", outside, " tokens of the part have tags outside [0, labels=", labels_,
                             "); set model.moe.router.labels to the number of tags of the data")));
    }
    return sums["label_loss"] / sums["label_loss.labelled"].clamp_min(1);
  }

  void report(const PopulationSums& sums, std::map<std::string, double>& scalars) override {
    const double labelled = sums["label_loss.labelled"].item<double>();
    if (labelled > 0) scalars["routing_accuracy"] = sums["label_loss.right"].item<double>() / labelled;
  }

 private:
  static constexpr double kNever = -1e30;  // e to this is 0, without the NaN of a row of −∞

  const int64_t labels_;
  const std::string layer_;
  // The experts that each label owns, M at most; rows that have fewer are filled up, and kNever tells what with.
  at::Tensor owned_LM_, beyond_LM_;
};

}  // namespace

std::unique_ptr<BalanceTerm> make_label_loss(double coefficient, int64_t labels, int64_t experts,
                                             const std::string& layer) {
  return std::make_unique<LabelLoss>(coefficient, labels, experts, layer);
}

}  // namespace switchyard
