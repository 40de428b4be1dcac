#include "launch/verify/plain_choices.h"

#include <limits>

#include <ATen/ATen.h>

namespace switchyard {

at::Tensor largest_along(const at::Tensor& scores_TE, int64_t count, int64_t dim) {
  const at::Tensor order = std::get<1>(at::sort(scores_TE, /*stable=*/true, dim, /*descending=*/true));
  return at::zeros_like(scores_TE, at::kBool).scatter(dim, order.narrow(dim, 0, count), true);
}

at::Tensor within_best_groups(const at::Tensor& scores_TE, int64_t groups, int64_t kept) {
  const int64_t tokens = scores_TE.size(0), size = scores_TE.size(1) / groups;
  const at::Tensor grouped = scores_TE.view({tokens, groups, size});
  const at::Tensor two_best = std::get<0>(at::topk(grouped, std::min<int64_t>(2, size), 2)).sum(2);
  const at::Tensor outside = largest_along(two_best, kept, 1).logical_not().unsqueeze(2);
  return grouped.masked_fill(outside, -std::numeric_limits<double>::infinity()).view_as(scores_TE);
}

at::Tensor most_probable(const at::Tensor& probabilities_TE, double enough, int64_t most) {
  const auto [falling_TE, order_TE] = at::sort(probabilities_TE, /*stable=*/true, 1, /*descending=*/true);
  const at::Tensor before_TE = falling_TE.cumsum(1) - falling_TE;
  const at::Tensor taken_TE = before_TE.lt(enough).narrow(1, 0, most);
  return at::zeros_like(probabilities_TE, at::kBool).scatter(1, order_TE.narrow(1, 0, most), taken_TE);
}

at::Tensor sinkhorn(const at::Tensor& logits_TE, int64_t iterations) {
  const auto tokens = static_cast<double>(logits_TE.size(0)), experts = static_cast<double>(logits_TE.size(1));
  at::Tensor plan_TE = at::softmax(logits_TE, 1);
  for (int64_t i = 0; i < iterations; ++i) {
    plan_TE = plan_TE / plan_TE.sum(1, true) / tokens;
    plan_TE = plan_TE / plan_TE.sum(0, true) / experts;
  }
  return plan_TE;
}

Choice choice_of_mask(const at::Tensor& chosen_TE) {
  return {.offsets = at::constant_pad_nd(chosen_TE.sum(1).cumsum(0), {1, 0}),
          .experts = chosen_TE.nonzero().select(1, 1).contiguous(),
          .kept = {}};
}

at::Tensor mask_of_choice(const Choice& choice, int64_t experts) {
  const at::Tensor chosen_TE = at::zeros({choice.offsets.size(0) - 1, experts}, at::kBool);
  chosen_TE.index_put_({tokens_of(choice.offsets), choice.experts}, at::ones({}, at::kBool));
  return chosen_TE;
}

Choice kept_slots(const Choice& choice) {
  if (!choice.kept.defined()) return choice;
  const at::Tensor kept = choice.kept.nonzero().view(-1);
  const int64_t tokens = choice.offsets.size(0) - 1;
  const at::Tensor counts_T = at::bincount(tokens_of(choice.offsets).index_select(0, kept), {}, tokens);
  return {.offsets = at::constant_pad_nd(counts_T.cumsum(0), {1, 0}),
          .experts = choice.experts.index_select(0, kept),
          .kept = {}};
}

at::Tensor tokens_of(const at::Tensor& offsets) {
  return at::repeat_interleave(at::diff(offsets));
}

}  // namespace switchyard
