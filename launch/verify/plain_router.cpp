#include "launch/verify/plain_router.h"

#include <cmath>
#include <span>
#include <tuple>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/plain_choices.h"
#include "launch/verify/plain_losses.h"
#include "launch/verify/same_router.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

std::vector<int64_t> to_counts(const at::Tensor& counts_E) {
  const at::Tensor counts = counts_E.to(at::kLong).contiguous();
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel()};
}

// What a router makes of its tokens before it chooses; undefined where its kind has none.
struct Scores {
  at::Tensor logits_TE;
  at::Tensor noisy_TE, spread_TE;  // the logits with their noise, and its standard deviation
  at::Tensor weights_TE;           // what tokens would be weighed by: a choice leaves the chosen ones
  at::Tensor probabilities_TE;     // what balance looks at
};

class WrittenRouter : public PlainRouter {
 public:
  WrittenRouter(const std::string& name, int64_t width, double init_scale, uint64_t seed, const MoeConfig& moe,
                PlainParameters& parameters)
      : name_(name + ".router"),
        seed_(seed),
        config_(moe.router),
        experts_(moe.experts),
        k_(moe.experts_per_token),
        bias_E_(at::zeros({experts_}, at::kFloat)) {
    const bool network = config_.gate.kind == "mlp";
    if (network) up_HD_ = parameters.weight(name_ + ".up", {config_.gate.width, width}, init_scale);
    if (network) gate_EH_ = parameters.weight(name_ + ".down", {experts_, config_.gate.width}, init_scale);
    if (config_.has_gate() && !network) gate_EH_ = parameters.weight(name_, {experts_, width}, init_scale);
    if (config_.kind == "noisy_top_k") noise_ED_ = parameters.weight(name_ + ".noise", {experts_, width}, 0);
    if (config_.combination == "linear")
      coefficients_E1_ = parameters.ones(name_ + ".coefficients", {experts_, 1}, true);
  }

  Choice choose(const at::Tensor& x_TD, const TokenContext& context) override {
    const at::NoGradGuard no_grad;
    const Scores scores = look(x_TD, context);
    const at::Tensor chosen_TE = config_.balance.force ? in_turn(x_TD.size(0)) : best_of(scores, context);
    Choice choice = choice_of_mask(chosen_TE);
    if (config_.capacity.factor > 0) {
      const at::Tensor kept_TE = within_capacity(weigh(scores, chosen_TE), chosen_TE, context);
      choice.kept = kept_TE.index({tokens_of(choice.offsets), choice.experts});
    }
    return choice;
  }

  RouterOutput route(const at::Tensor& x_TD, const TokenContext& context, const Choice& choice) override {
    const Scores scores = look(x_TD, context);
    const at::Tensor chosen_TE = mask_of_choice(choice, experts_);
    const at::Tensor weights_TE = weigh(scores, chosen_TE);
    slots_of_part_[context.part] = chosen_TE.sum(0);

    RouterOutput output;
    output.statistics.tokens_per_expert = to_counts(slots_of_part_[context.part]);
    output.auxiliary_loss = at::zeros({}, at::kDouble);
    for (const auto& [loss, coefficient, value] : losses(scores, chosen_TE, weights_TE, context)) {
      output.statistics.losses[loss] = value.item<double>();
      output.auxiliary_loss = output.auxiliary_loss + coefficient * value / static_cast<double>(context.parts);
    }
    const Choice sent = kept_slots(choice);
    output.statistics.dropped = choice.experts.size(0) - sent.experts.size(0);
    output.routing = {sent.offsets, sent.experts, weights_TE.index({tokens_of(sent.offsets), sent.experts})};
    return output;
  }

  // The bias goes up where an expert had fewer than its share of the step's slots.
  void finish_step() override {
    at::Tensor slots_E = at::zeros({experts_}, at::kLong);
    for (const auto& [part, slots] : slots_of_part_) slots_E = slots_E + slots;
    bias_E_ += config_.balance.bias_rate * at::sign(slots_E.sum() - experts_ * slots_E).to(at::kFloat);
  }

  std::vector<RouterBuffer> buffers() override {
    if (config_.balance.bias_rate == 0) return {};
    return {{name_ + ".bias", bias_E_}};
  }

 private:
  using Loss = std::tuple<std::string, double, at::Tensor>;  // name, coefficient, value

  bool is(const char* kind) const { return config_.kind == kind; }

  CounterRandom generator(const char* what, const TokenContext& context) const {
    return CounterRandom(seed_, hash_name(absl::StrCat(name_, what, "#", context.step)));
  }

  // A number for each token and column, by the token's index within the step.
  template <typename Number>
  at::Tensor draw(const char* what, int64_t columns, const TokenContext& context,
                  void (CounterRandom::*fill)(uint64_t first, std::span<Number> out) const) const {
    const at::Tensor drawn = at::empty({context.population, columns}, c10::CppTypeToScalarType<Number>::value);
    const auto count = static_cast<size_t>(drawn.numel());
    (generator(what, context).*fill)(context.part * count, {drawn.mutable_data_ptr<Number>(), count});
    return drawn.to(at::kDouble);
  }

  at::Tensor logits(const at::Tensor& x_TD, const TokenContext& context) const {
    const double jitter = config_.balance.jitter;
    at::Tensor x = x_TD;
    if (jitter > 0)
      x = x * (1 + jitter * (2 * draw(".jitter", x.size(1), context, &CounterRandom::coarse_uniforms) - 1));
    if (up_HD_.defined()) x = at::gelu(x.matmul(up_HD_.t()));
    return x.matmul(gate_EH_.t());
  }

  Scores look(const at::Tensor& x_TD, const TokenContext& context) const {
    Scores scores;
    if (!config_.has_gate()) {
      scores.weights_TE = is("hash") ? at::full({x_TD.size(0), experts_}, 1.0 / static_cast<double>(k_), at::kDouble)
                                     : coefficients_E1_.t().expand({x_TD.size(0), experts_}) / experts_;
      return scores;
    }
    scores.logits_TE = scores.noisy_TE = logits(x_TD, context);
    if (is("noisy_top_k")) {
      scores.spread_TE = at::softplus(x_TD.matmul(noise_ED_.t())) + 1e-2;
      scores.noisy_TE =
          scores.logits_TE + scores.spread_TE * draw(".noise", experts_, context, &CounterRandom::normals);
    }
    scores.weights_TE = is("sigmoid") ? at::sigmoid(scores.logits_TE) : at::softmax(scores.noisy_TE, 1);
    scores.probabilities_TE = scores.weights_TE / scores.weights_TE.sum(1, true);
    return scores;
  }

  at::Tensor best_of(const Scores& scores, const TokenContext& context) const {
    const at::Tensor& weights_TE = scores.weights_TE;
    const int64_t tokens = weights_TE.size(0);
    if (is("hash")) return by_id(context.tokens);
    if (is("dense")) return at::ones_like(weights_TE, at::kBool);
    if (is("expert_choice")) return largest_along(weights_TE, tokens * k_ / experts_, 0);
    if (is("top_p")) return most_probable(weights_TE, config_.probability, k_);
    if (is("sinkhorn")) return largest_along(sinkhorn(scores.logits_TE, config_.iterations), k_, 1);
    return largest_along(within_best_groups(weights_TE + bias_E_, config_.groups, config_.groups_per_token), k_, 1);
  }

  // K experts one after another, from one that the token's id tells.
  at::Tensor by_id(const at::Tensor& ids_T) const {
    const CounterRandom random(seed_, hash_name(name_ + ".table"));
    const at::Tensor chosen_TE = at::zeros({ids_T.size(0), experts_}, at::kBool);
    for (int64_t t = 0; t < ids_T.size(0); ++t) {
      const auto id = ids_T[t].item<int64_t>();
      const int64_t first =
          config_.table == "random" ? static_cast<int64_t>(random.below(experts_, id)) : id * k_ % experts_;
      for (int64_t j = 0; j < k_; ++j) chosen_TE[t][(first + j) % experts_] = true;
    }
    return chosen_TE;
  }

  // Slot i goes to expert i modulo E.
  at::Tensor in_turn(int64_t tokens) const {
    const at::Tensor experts_N = at::arange(tokens * k_, at::kLong).remainder(experts_);
    return mask_of_choice(
        {.offsets = at::arange(0, (tokens + 1) * k_, k_, at::kLong), .experts = experts_N, .kept = {}}, experts_);
  }

  at::Tensor weigh(const Scores& scores, const at::Tensor& chosen_TE) const {
    at::Tensor weights_TE = scores.weights_TE * chosen_TE;
    const bool shares =
        is("noisy_top_k") || config_.top_k_first || (config_.renormalise && !is("dense") && !is("hash"));
    if (shares) {
      const at::Tensor sums_T1 = weights_TE.sum(1, true);
      weights_TE = weights_TE / sums_T1.masked_fill(sums_T1.eq(0), 1);  // a token may have no expert
    }
    return weights_TE * config_.scale;
  }

  // Each expert keeps ⌊factor·T·K/E⌋ of its tokens.
  at::Tensor within_capacity(const at::Tensor& weights_TE, const at::Tensor& chosen_TE,
                             const TokenContext& context) const {
    const int64_t tokens = weights_TE.size(0);
    const double share = static_cast<double>(tokens * k_) / static_cast<double>(experts_);
    const auto limit = static_cast<int64_t>(std::floor(config_.capacity.factor * share + 1e-9));
    at::Tensor scores_TE = config_.capacity.drop == "score" ? weights_TE : at::zeros_like(weights_TE);
    if (config_.capacity.drop == "random") {
      const CounterRandom random = generator(".drop", context);
      const int64_t first = context.part * scores_TE.numel();
      auto* scores = scores_TE.mutable_data_ptr<double>();
      for (int64_t i = 0; i < scores_TE.numel(); ++i) scores[i] = random.uniform(first + i);
    }
    const at::Tensor candidates_TE = scores_TE.masked_fill(chosen_TE.logical_not(), -1);
    return largest_along(candidates_TE, std::min(limit, tokens), 0).logical_and(chosen_TE);
  }

  std::vector<Loss> losses(const Scores& scores, const at::Tensor& chosen_TE, const at::Tensor& weights_TE,
                           const TokenContext& context) const {
    if (!config_.has_gate()) return {};
    const BalanceConfig& balance = config_.balance;
    std::vector<Loss> all = {{"aux_loss", config_.aux_loss, balance_loss(scores, chosen_TE, context)},
                             {"z_loss", config_.z_loss, at::logsumexp(scores.logits_TE, 1).square().mean()}};
    const auto add_if = [&](bool there, const char* name, double coefficient, const auto& loss) {
      if (there) all.emplace_back(name, coefficient, loss());
    };
    add_if(balance.importance_loss > 0, "importance_loss", balance.importance_loss,
           [&] { return variation(weights_TE.sum(0)); });
    add_if(balance.entropy_loss > 0, "entropy_loss", balance.entropy_loss,
           [&] { return mean_entropy(scores.probabilities_TE); });
    add_if(is("noisy_top_k"), "load_loss", config_.load_loss,
           [&] { return variation(load_of_noise(scores.logits_TE, scores.noisy_TE, scores.spread_TE, k_)); });
    add_if(is("supervised"), "label_loss", config_.label_loss,
           [&] { return label_loss(scores.logits_TE, context.tags, config_.labels); });
    return all;
  }

  at::Tensor balance_loss(const Scores& scores, const at::Tensor& chosen_TE, const TokenContext& context) const {
    const std::string& over = config_.balance.over;
    if (over == "sequence") return load_balance_of_sequences(chosen_TE, scores.probabilities_TE, context.sequence);
    at::Tensor slots_E = chosen_TE.sum(0);
    for (const auto& [part, slots] : slots_of_part_) {
      if (over == "running" && part < context.part) slots_E = slots_E + slots;
    }
    return load_balance(slots_E, scores.probabilities_TE);
  }

  const std::string name_;
  const uint64_t seed_;
  const RouterConfig config_;
  const int64_t experts_, k_;
  at::Tensor up_HD_, gate_EH_;  // H is D without a hidden layer
  at::Tensor noise_ED_, coefficients_E1_;
  at::Tensor bias_E_;                            // in fp32, as it is kept
  std::map<int64_t, at::Tensor> slots_of_part_;  // of the step, as far as it has come
};

// [T,E]: 0 not chosen, 1 chosen and dropped by a capacity, 2 chosen.
at::Tensor membership(const Choice& choice, int64_t experts) {
  const at::Tensor kept_N =
      choice.kept.defined() ? choice.kept.to(at::kByte) : at::ones_like(choice.experts, at::kByte);
  const at::Tensor member_TE = at::zeros({choice.offsets.size(0) - 1, experts}, at::kByte);
  member_TE.index_put_({tokens_of(choice.offsets), choice.experts}, kept_N + 1);
  return member_TE;
}

}  // namespace

bool is_written_out(const RouterConfig& config) {
  return config.kind != "bayesian";
}

std::unique_ptr<PlainRouter> make_plain_router(const std::string& name, int64_t width, double init_scale, uint64_t seed,
                                               const MoeConfig& config, const Mesh& one_rank,
                                               PlainParameters& parameters) {
  if (is_written_out(config.router)) {
    return std::make_unique<WrittenRouter>(name, width, init_scale, seed, config, parameters);
  }
  const BuildContext context{.mesh = one_rank,
                             .dtype = at::kDouble,
                             .init_scale = init_scale,
                             .residual_init_scale = init_scale,
                             .seed = seed};
  return make_same_router(name, width, config, context, parameters);
}

double loss_coefficients(const RouterConfig& router) {
  double sum = router.balance.importance_loss + router.balance.entropy_loss;
  if (router.has_gate()) sum += router.aux_loss + router.z_loss;
  if (router.kind == "noisy_top_k") sum += router.load_loss;
  if (router.kind == "supervised") sum += router.label_loss;
  return sum;
}

at::Tensor differing_tokens(const Choice& a, const Choice& b, int64_t experts) {
  return membership(a, experts).ne(membership(b, experts)).any(1);
}

}  // namespace switchyard
