#include "launch/verify/router_judge.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "launch/verify/plain_decoder.h"
#include "launch/verify/round_off.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

// That all of them move a figure by less than a tenth of their usual effect has a chance of 4 in 10⁵.
constexpr int kPerturbations = 4;
// One after another, from logits to a loss: exponential, sum, quotient, logarithm, product, and their like.
constexpr double kRoundings = 8;

// What a router gives, by name.
using Figures = std::map<std::string, at::Tensor>;

Figures figures_of(const RouterOutput& output, int64_t layer, int64_t part) {
  Figures figures;
  for (const TensorPart& loss : loss_parts(layer, part, output.statistics)) figures[loss.name] = loss.data;
  const TensorPart weights = weights_part(layer, part, output.routing.weights);
  figures[weights.name] = weights.data;
  figures[auxiliary_loss_name(part)] = output.auxiliary_loss.reshape({1});
  return figures;
}

double norm_of(const at::Tensor& x) {
  return x.norm().item<double>();
}

}  // namespace

std::string auxiliary_loss_name(int64_t part) {
  return absl::StrCat("auxiliary_loss.part", part);
}

RouterJudge::RouterJudge(const RunConfig& config)
    : config_(config), parameters_(config.train.compute_precision(), static_cast<uint64_t>(config.run.seed)) {
  const DecoderConfig& model = config.model;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    if (!model.is_moe_layer(layer)) continue;
    routers_.emplace_back(
        layer, make_plain_router(absl::StrCat("layers.", layer, ".moe"), model.width, model.init_scale,
                                 static_cast<uint64_t>(config.run.seed), model.moe, one_rank_.mesh(), parameters_));
  }
}

void RouterJudge::begin_step(const Job& job) {
  std::map<std::string, TensorPart> values;
  for (TensorPart& part : value_parts(job)) values[part.name] = std::move(part);
  for (PlainParameter& parameter : parameters_.all()) {
    const TensorPart& part = values.at(parameter.name);
    SY_CHECK(part.box == Box::whole(part.shape));
    parameter.value.copy_(part.data);
  }
  size_t i = 0;
  for (const auto& [layer, moe] : job.model->moe_layers()) {
    const std::vector<RouterBuffer> from = moe->router().buffers(), into = routers_.at(i++).second->buffers();
    SY_CHECK_EQ(from.size(), into.size());
    for (size_t k = 0; k < from.size(); ++k) at::Tensor(into[k].value).copy_(from[k].value);
  }
}

// Relative to a token's input. A logit's sum of n products has an error of √n·u·‖x‖‖w‖, which is what a random
// perturbation of x by n·u makes; where the gate's input or its hidden layer is rounded to the values' dtype, so is the
// perturbation: the factor of the jitter, the product, the hidden sum, its activation.
double RouterJudge::margin() const {
  const RouterConfig& router = config_.model.moe.router;
  const Precision precision = config_.train.compute_precision();
  const bool network = router.gate.kind == "mlp" || router.combination == "neural";
  const auto longest = static_cast<double>(std::max(config_.model.width, network ? router.gate.width : 0));
  const double stored = network || router.balance.jitter > 0 ? std::sqrt(4.0) * stored_unit(precision) : 0;
  return longest * accumulated_unit(precision) + stored;
}

// How far perturbations of the inputs move each figure.
std::map<std::string, double> RouterJudge::sensitivity(PlainRouter& router, const at::Tensor& x_TD,
                                                       const TokenContext& context, const Choice& choice,
                                                       int64_t layer) const {
  at::Generator random = at::detail::createCPUGenerator(1);
  const at::Tensor size_T1 = margin() * x_TD.square().mean(1, true).sqrt();
  const Figures figures = figures_of(router.route(x_TD, context, choice), layer, context.part);
  std::map<std::string, double> moved;
  for (int i = 0; i < kPerturbations; ++i) {
    const at::Tensor noise = size_T1 * at::randn(x_TD.sizes(), random, x_TD.options());
    const RouterOutput output = router.route(x_TD + noise, context, choice);
    for (const auto& [name, value] : figures_of(output, layer, context.part)) {
      moved[name] = std::max(moved[name], norm_of(value - figures.at(name)));
    }
  }
  return moved;
}

RouterJudge::Verdict RouterJudge::judge(const TokenBatch& batch, std::span<const Routed> routed) {
  const at::NoGradGuard no_grad;
  const TokenContext context = whole_part_context(batch);
  const double rounding = (kRoundings + std::sqrt(static_cast<double>(batch.part_tokens))) *
                          accumulated_unit(config_.train.compute_precision());
  const double coefficients = loss_coefficients(config_.model.moe.router) / static_cast<double>(batch.parts);
  const std::string together = auxiliary_loss_name(batch.part);
  Verdict verdict;
  at::Tensor auxiliary_loss = at::zeros({1}, at::kDouble);
  for (size_t i = 0; i < routed.size(); ++i) {
    auto& [layer, router] = routers_.at(i);
    const Choice& choice = routed[i].choice;
    const at::Tensor x_TD = routed[i].x_tD.to(at::kDouble);
    verdict.flips.add(count_flips(*router, x_TD, context, choice, config_.model.moe.experts, margin(),
                                  absl::StrCat("layer ", layer, " by its own inputs, part ", batch.part)));
    const std::map<std::string, double> moved = sensitivity(*router, x_TD, context, choice, layer);
    // Last, so that what the router counts is of the inputs themselves.
    const RouterOutput output = router->route(x_TD, context, choice);
    for (const auto& [name, value] : figures_of(output, layer, batch.part)) {
      const double terms = name == together ? coefficients : 1;
      Measure& measure = verdict.measures[name];
      measure.scale += std::max(norm_of(value), terms);
      measure.bound += moved.at(name) + rounding * std::max(norm_of(value), terms);
    }
    verdict.weights.push_back(weights_part(layer, batch.part, output.routing.weights));
    std::ranges::move(loss_parts(layer, batch.part, output.statistics), std::back_inserter(verdict.losses));
    std::ranges::move(count_parts(layer, batch.part, output.statistics), std::back_inserter(verdict.token_counts));
    auxiliary_loss += output.auxiliary_loss;
  }
  for (auto& [name, measure] : verdict.measures) {
    if (measure.scale > 0) measure.bound /= measure.scale;
  }
  verdict.losses.push_back(whole_part(together, auxiliary_loss));
  return verdict;
}

}  // namespace switchyard
