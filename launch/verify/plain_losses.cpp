#include "launch/verify/plain_losses.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

namespace switchyard {

at::Tensor load_balance(const at::Tensor& slots_E, const at::Tensor& probabilities_TE) {
  const at::Tensor shares_E = slots_E.to(at::kDouble) / slots_E.sum();
  return static_cast<double>(slots_E.size(0)) * shares_E.dot(probabilities_TE.mean(0));
}

at::Tensor load_balance_of_sequences(const at::Tensor& chosen_TE, const at::Tensor& probabilities_TE,
                                     int64_t sequence) {
  std::vector<at::Tensor> losses;
  for (int64_t first = 0; first < chosen_TE.size(0); first += sequence) {
    losses.push_back(
        load_balance(chosen_TE.narrow(0, first, sequence).sum(0), probabilities_TE.narrow(0, first, sequence)));
  }
  return at::stack(losses).mean();
}

at::Tensor mean_entropy(const at::Tensor& probabilities_TE) {
  const at::Tensor positive_TE = probabilities_TE.clamp_min(std::numeric_limits<double>::min());
  return -(probabilities_TE * positive_TE.log()).sum(1).mean();
}

at::Tensor variation(const at::Tensor& values_E) {
  return at::var(values_E, /*unbiased=*/false) / values_E.mean().square();
}

at::Tensor load_of_noise(const at::Tensor& logits_TE, const at::Tensor& noisy_TE, const at::Tensor& spread_TE,
                         int64_t k) {
  const int64_t experts = logits_TE.size(1);
  if (k == experts) return at::full({experts}, logits_TE.size(0), at::kDouble);
  std::vector<at::Tensor> loads;
  for (int64_t e = 0; e < experts; ++e) {
    const at::Tensor others = at::cat({noisy_TE.narrow(1, 0, e), noisy_TE.narrow(1, e + 1, experts - e - 1)}, 1);
    const at::Tensor threshold_T = std::get<0>(at::topk(others, k, 1)).select(1, k - 1);
    loads.push_back(at::special_ndtr((logits_TE.select(1, e) - threshold_T) / spread_TE.select(1, e)).sum());
  }
  return at::stack(loads);
}

at::Tensor label_loss(const at::Tensor& logits_TE, const at::Tensor& tags_T, int64_t labels) {
  const int64_t experts = logits_TE.size(1);
  at::Tensor sum = at::zeros({}, at::kDouble);
  if (!tags_T.defined()) return sum;
  int64_t labelled = 0;
  for (int64_t label = 0; label < labels; ++label) {
    const int64_t first = label * experts / labels, end = (label + 1) * experts / labels;
    const at::Tensor tokens = tags_T.eq(label).nonzero().view(-1);
    const at::Tensor log_p = at::log_softmax(logits_TE.index_select(0, tokens), 1);
    sum = sum - log_p.narrow(1, first, end - first).logsumexp(1).sum();
    labelled += tokens.numel();
  }
  return sum / static_cast<double>(std::max<int64_t>(1, labelled));
}

}  // namespace switchyard
