#include "layers/moe/router/composed_router.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "layers/moe/router/selection.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

std::vector<int64_t> integers(const at::Tensor& values_E) {
  const at::Tensor whole = values_E.detach().to(at::kLong).contiguous();
  const int64_t* data = whole.const_data_ptr<int64_t>();
  return {data, data + whole.numel()};
}

TokenContext on_host(const TokenContext& context) {
  TokenContext copy = context;
  for (at::Tensor* tensor : {&copy.tokens, &copy.tags}) {
    if (tensor->defined()) *tensor = tensor->cpu();
  }
  return copy;
}

// Zero, or NaN where a logit of either gate is not finite.
at::Tensor zero_if_finite(const Scored& scored) {
  at::Tensor sum = scored.logits_TE.detach().sum(1).sum(at::kDouble);
  // Noise of no finite size may leave no trace in the scores.
  if (scored.second_TE.defined()) sum += scored.second_TE.detach().sum(1).sum(at::kDouble);
  return sum * 0;
}

}  // namespace

void RoutingRule::score(Scored& scored) {
  scored.scores_TE = scored.probabilities_TE = at::softmax(scored.logits_TE, 1);
}

Choice balanced_choice(int64_t tokens, int64_t experts, int64_t experts_per_token, const TokenContext& context) {
  const int64_t k = experts_per_token;
  const at::Tensor slots = at::arange(context.first_token * k, (context.first_token + tokens) * k, at::kLong);
  return {
      .offsets = at::arange(0, (tokens + 1) * k, k, at::kLong), .experts = at::remainder(slots, experts), .kept = {}};
}

ComposedRouter::ComposedRouter(Parts parts, Communicator& population)
    : parts_(std::move(parts)), population_(population) {}

RouterOutput ComposedRouter::route(const at::Tensor& x_tD, const TokenContext& given) {
  const TokenContext context = on_host(given);
  Scored scored{.context = context,
                .x_TD = x_tD,
                .logits_TE = {},
                .second_TE = {},
                .log_sums_T = {},
                .scores_TE = {},
                .probabilities_TE = {},
                .spread_TE = {},
                .ranking_TE = {},
                .best_TK = {}};
  if (parts_.gate) {
    const Logits logits = parts_.gate->logits(x_tD, context, parts_.rule->second_gate(context));
    scored.logits_TE = logits.of_gate.cpu();
    if (logits.beside.defined()) scored.second_TE = logits.beside.cpu();
    scored.log_sums_T = at::logsumexp(scored.logits_TE, 1);
  }
  parts_.rule->score(scored);
  Choice choice = choose(scored);
  at::Tensor weights_N = parts_.rule->weigh(scored, choice);

  const PopulationSums sums = add_up(scored, choice, weights_N);
  RouterOutput output;
  output.statistics.tokens_per_expert = integers(sums["slots"]);
  output.auxiliary_loss = losses(scored, sums, output.statistics);
  parts_.rule->report(output.statistics.scalars);
  parts_.rule->observe(scored, output.statistics.tokens_per_expert);

  output.choice = choice;
  if (scored.probabilities_TE.defined()) output.probabilities_TE = scored.probabilities_TE.detach();
  if (scored.ranking_TE.defined()) output.ranking_TE = scored.ranking_TE.detach();
  if (parts_.capacity) {
    const int64_t limit = parts_.capacity->limit(context);
    if (!choice.kept.defined()) {
      output.choice.kept = parts_.capacity->keep(choice, weights_N.detach(), context, population_);
    }
    for (const int64_t slots : output.statistics.tokens_per_expert) {
      output.statistics.dropped += std::max<int64_t>(0, slots - limit);
    }
    weights_N = weights_N.masked_select(output.choice.kept);
    choice = filter(choice, output.choice.kept);
    output.rows_per_expert = parts_.capacity->pads() ? limit : 0;
  }
  output.routing = {.offsets = choice.offsets.to(x_tD.device()),
                    .experts = choice.experts.to(x_tD.device()),
                    .weights = weights_N.to(x_tD.device())};
  return output;
}

Choice ComposedRouter::choose(Scored& scored) {
  if (const Choice* given = replay_.next(scored.context)) return *given;
  if (parts_.force_balance) {
    return balanced_choice(scored.x_TD.size(0), parts_.experts, parts_.experts_per_token, scored.context);
  }
  const at::NoGradGuard no_grad;
  return parts_.rule->choose(scored);
}

PopulationSums ComposedRouter::add_up(const Scored& scored, const Choice& choice, const at::Tensor& weights_N) {
  PopulationSums sums;
  sums.add("slots", at::bincount(choice.experts, {}, parts_.experts));
  if (scored.probabilities_TE.defined()) {
    const at::Tensor p_TE = scored.probabilities_TE.detach();
    // Several times faster than xlogy, and 0 for p = 0 too.
    const at::Tensor log_p_TE = p_TE.clamp_min(std::numeric_limits<float>::min()).log_();
    sums.add("entropy", -log_p_TE.mul_(p_TE).sum(at::kDouble));
    sums.add("finite", zero_if_finite(scored));
  }
  for (const auto& term : parts_.terms) {
    const at::AutoGradMode differentiable(at::GradMode::is_enabled() && term->coefficient() > 0);
    term->add(scored, choice, weights_N, sums);
  }
  sums.reduce(population_);
  return sums;
}

at::Tensor ComposedRouter::losses(const Scored& scored, const PopulationSums& sums, RouterStatistics& statistics) {
  const at::ScalarType dtype = accumulate_dtype(scored.x_TD.scalar_type());
  const double tokens = static_cast<double>(std::max<int64_t>(1, scored.context.population));
  at::Tensor total = at::zeros({}, at::kDouble);
  for (const auto& term : parts_.terms) {
    const at::Tensor loss = term->loss(scored, sums);
    statistics.losses[term->name()] = loss.item<double>();
    term->report(sums, statistics.scalars);
    if (term->coefficient() > 0) total = total + term->coefficient() / static_cast<double>(scored.context.parts) * loss;
  }
  at::Tensor share = sums.share(total, dtype);
  if (!scored.probabilities_TE.defined()) return share;
  statistics.entropy = sums["entropy"].item<double>() / tokens;
  if (std::isfinite(sums["finite"].item<double>())) return share;
  const bool mine = !std::isfinite(zero_if_finite(scored).item<double>());
  statistics.not_finite = lowest_rank(mine, population_);
  return share * std::numeric_limits<double>::quiet_NaN();
}

ParameterList ComposedRouter::parameters() {
  ParameterList list;
  if (parts_.gate) list = parts_.gate->parameters();
  const ParameterList more = parts_.rule->parameters();
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

}  // namespace switchyard
