#include "launch/verify/plain_router.h"

#include <ATen/ATen.h>

#include "launch/config/document.h"
#include "layers/moe/router/make_router.h"

namespace switchyard {
namespace {

// The token of every slot.
at::Tensor tokens_of(const at::Tensor& offsets) {
  return at::repeat_interleave(at::diff(offsets));
}

std::vector<int64_t> to_counts(const at::Tensor& counts_E) {
  const at::Tensor counts = counts_E.to(at::kLong).contiguous();
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel()};
}

class PlainSoftmax : public PlainRouter {
 public:
  PlainSoftmax(const std::string& name, int64_t width, double init_scale, const MoeConfig& config,
               PlainParameters& parameters)
      : config_(config), gate_ED_(parameters.weight(name + ".router", {config.experts, width}, init_scale)) {}

  Choice choose(const at::Tensor& x_TD, const TokenContext&) override {
    const at::NoGradGuard no_grad;
    const int64_t K = config_.experts_per_token, T = x_TD.size(0);
    const at::Tensor best_TK = std::get<1>(at::topk(x_TD.matmul(gate_ED_.t()), K, 1));
    return {at::arange(0, (T + 1) * K, K, at::kLong), best_TK.reshape({-1}), {}};
  }

  RouterOutput route(const at::Tensor& x_TD, const TokenContext& context, const Choice& choice) override {
    const double experts = static_cast<double>(config_.experts), K = static_cast<double>(config_.experts_per_token);
    const double tokens = static_cast<double>(context.population);
    const at::Tensor logits_TE = x_TD.matmul(gate_ED_.t());
    const at::Tensor probabilities_TE = at::softmax(logits_TE, 1);
    const at::Tensor token_N = tokens_of(choice.offsets);
    at::Tensor weights_N = probabilities_TE.index({token_N, choice.experts});
    if (config_.router.renormalise) {
      const at::Tensor sums_T = at::zeros({x_TD.size(0)}, at::kDouble).index_add(0, token_N, weights_N);
      weights_N = weights_N / sums_T.index_select(0, token_N);
    }
    const at::Tensor counts_E = at::bincount(choice.experts, {}, config_.experts);
    const at::Tensor share_E = counts_E.to(at::kDouble) / (tokens * K);
    const at::Tensor balance = experts * (share_E * probabilities_TE.sum(0) / tokens).sum();
    const at::Tensor z = at::logsumexp(logits_TE, 1).square().sum() / tokens;
    RouterOutput output;
    output.routing = {choice.offsets, choice.experts, weights_N};
    output.auxiliary_loss =
        (config_.router.aux_loss * balance + config_.router.z_loss * z) / static_cast<double>(context.parts);
    output.statistics.losses = {{"aux_loss", balance.item<double>()}, {"z_loss", z.item<double>()}};
    output.statistics.tokens_per_expert = to_counts(counts_E);
    return output;
  }

 private:
  const MoeConfig config_;
  const at::Tensor gate_ED_;
};

class SameRouter : public PlainRouter {
 public:
  SameRouter(const std::string& name, int64_t width, const MoeConfig& config, const BuildContext& context,
             PlainParameters& parameters)
      : router_(make_router(name, width, config, context)), chooser_(make_router(name, width, config, context)) {
    parameters.adopt(router_->parameters());
  }

  // By a second object, so that what routers count while they route is not counted twice.
  Choice choose(const at::Tensor& x_TD, const TokenContext& context) override {
    const at::NoGradGuard no_grad;
    const ParameterList from = router_->parameters(), to = chooser_->parameters();
    for (size_t i = 0; i < from.size(); ++i) to[i]->value().detach().copy_(from[i]->value());
    const std::vector<RouterBuffer> state = router_->buffers(), copy = chooser_->buffers();
    for (size_t i = 0; i < state.size(); ++i) at::Tensor(copy[i].value).copy_(state[i].value);
    return chooser_->route(x_TD, context).choice;
  }

  RouterOutput route(const at::Tensor& x_TD, const TokenContext& context, const Choice& choice) override {
    router_->replay(choice);
    return router_->route(x_TD, context);
  }

  void finish_step() override { router_->finish_step(); }
  std::vector<RouterBuffer> buffers() override { return router_->buffers(); }

 private:
  const std::unique_ptr<Router> router_, chooser_;
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
  RouterConfig plain;  // all else must be as it is by default
  plain.renormalise = config.renormalise;
  plain.aux_loss = config.aux_loss;
  plain.z_loss = config.z_loss;
  RouterConfig copy = config;
  return flat_values(schema_of(copy)) == flat_values(schema_of(plain));
}

std::unique_ptr<PlainRouter> make_plain_router(const std::string& name, int64_t width, double init_scale, uint64_t seed,
                                               const MoeConfig& config, const Mesh& one_rank,
                                               PlainParameters& parameters) {
  if (is_written_out(config.router)) {
    return std::make_unique<PlainSoftmax>(name, width, init_scale, config, parameters);
  }
  const BuildContext context{.mesh = one_rank,
                             .dtype = at::kDouble,
                             .init_scale = init_scale,
                             .residual_init_scale = init_scale,
                             .seed = seed};
  return std::make_unique<SameRouter>(name, width, config, context, parameters);
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
