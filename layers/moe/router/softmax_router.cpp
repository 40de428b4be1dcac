#include "layers/moe/router/softmax_router.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/moe/router/composed_router.h"
#include "layers/moe/router/gate.h"
#include "layers/moe/router/population.h"
#include "layers/moe/router/softmax_top_k.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Losses {
  double aux_loss;
  double z_loss;
  bool renormalise;
  int64_t experts_per_token;
  double tokens;  // of the population, at least 1
  double parts;
};

// What the population's ranks add up: slots and probabilities of each expert, squared log sums and entropies.
struct Population {
  std::vector<double> slots;
  std::vector<double> probabilities;
  double squared_log_sums;
  double entropies;
};

Population add_up(const TopK& chosen, Communicator& ranks) {
  const size_t experts = chosen.slots.size();
  at::Tensor sums = at::empty({static_cast<int64_t>(2 * experts + 2)}, at::kDouble);
  double* data = sums.data_ptr<double>();
  std::copy(chosen.slots.begin(), chosen.slots.end(), data);
  std::copy(chosen.probability_sums.begin(), chosen.probability_sums.end(), data + experts);
  data[2 * experts] = chosen.squared_log_sums;
  data[2 * experts + 1] = chosen.entropies;
  if (ranks.size() > 1) throw_if_error(ranks.all_reduce(sums, ReduceOp::kSum).wait());
  return {{data, data + experts}, {data + experts, data + 2 * experts}, data[2 * experts], data[2 * experts + 1]};
}

// The gradient of the load-balance loss by every token's probability of each expert.
std::vector<double> balance_gradients(const Population& population, const Losses& losses) {
  std::vector<double> gradients(population.slots.size());
  for (size_t e = 0; e < gradients.size(); ++e) {
    const double share = population.slots[e] / (losses.tokens * static_cast<double>(losses.experts_per_token));
    gradients[e] = static_cast<double>(gradients.size()) * share / losses.tokens;
  }
  return gradients;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

struct Chosen {
  at::Tensor given_N;  // in: experts to take, undefined: none
  at::Tensor probabilities_TE;
  TopK top;
  RouterStatistics statistics;
};

// logits_TE → weights_N and the scalar loss; what was chosen and counted goes to `result`.
struct ChooseFunction : torch::autograd::Function<ChooseFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& logits_TE, const Losses& losses,
                               Communicator& ranks, Chosen& result) {
    const at::Tensor probabilities_TE = result.probabilities_TE = at::softmax(logits_TE, 1);
    result.top =
        softmax_top_k(logits_TE, probabilities_TE, losses.experts_per_token, losses.renormalise, result.given_N);
    const TopK& chosen = result.top;
    const Population population = add_up(chosen, ranks);
    std::vector<double> gradients = balance_gradients(population, losses);
    result.statistics = {.losses = {{"aux_loss", dot(gradients, population.probabilities)},
                                    {"z_loss", population.squared_log_sums / losses.tokens}},
                         .tokens_per_expert = {population.slots.begin(), population.slots.end()},
                         .entropy = population.entropies / losses.tokens,
                         .scalars = {}};
    const bool finite = std::isfinite(population.squared_log_sums) && std::isfinite(population.entropies);
    if (!finite) {
      const bool mine = !std::isfinite(chosen.squared_log_sums) || !std::isfinite(chosen.entropies);
      result.statistics.not_finite = lowest_rank(mine, ranks);
    }
    const double aux_factor = losses.aux_loss / losses.parts;
    const double z_factor = losses.z_loss / losses.parts / losses.tokens;
    const double loss = aux_factor * dot(gradients, chosen.probability_sums) + z_factor * chosen.squared_log_sums;
    const double share = finite ? loss : std::numeric_limits<double>::quiet_NaN();

    context->save_for_backward({probabilities_TE, chosen.experts_N, chosen.weights_N, chosen.log_sums_T});
    for (double& gradient : gradients) gradient *= aux_factor;
    context->saved_data["balance"] = gradients;
    context->saved_data["z_factor"] = z_factor;
    context->saved_data["renormalise"] = losses.renormalise;
    // The loss is known here and stays on the host, where its gradient is asked for without waiting for a device.
    return {chosen.weights_N, at::full({}, share, logits_TE.options().device(at::kCPU))};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    TopK chosen;
    chosen.experts_N = saved[1];
    chosen.weights_N = saved[2];
    chosen.log_sums_T = saved[3];
    const double loss_gradient = gradients[1].item<double>();
    std::vector<double> balance = context->saved_data["balance"].toDoubleVector();
    for (double& gradient : balance) gradient *= loss_gradient;
    const double z_factor = context->saved_data["z_factor"].toDouble() * loss_gradient;
    const bool renormalise = context->saved_data["renormalise"].toBool();
    return {softmax_top_k_backward(saved[0], chosen, renormalise, gradients[0].contiguous(), balance, z_factor),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

SoftmaxRouter::SoftmaxRouter(const std::string& name, int64_t width, const MoeConfig& config,
                             const BuildContext& context)
    : population_(context.mesh.group({Axis::kData, Axis::kTensor}, Purpose::kLayer)),
      experts_per_token_(config.experts_per_token),
      config_(config.router) {
  const AxisSet ranks{Axis::kData, Axis::kTensor};
  const std::vector<int64_t> shape{config.experts, width};
  Slice slice{.spec = {name + ".router", shape, Box::whole(shape), ranks, ranks}, .scale = context.init_scale};
  gate_ = std::make_unique<Parameter>(shape, context.options(), std::vector<Slice>{slice});
}

RouterOutput SoftmaxRouter::route(const at::Tensor& x_tD, const TokenContext& context) {
  const Losses losses{.aux_loss = config_.aux_loss,
                      .z_loss = config_.z_loss,
                      .renormalise = config_.renormalise || config_.top_k_first,
                      .experts_per_token = experts_per_token_,
                      .tokens = static_cast<double>(std::max<int64_t>(1, context.population)),
                      .parts = static_cast<double>(context.parts)};
  Chosen result;
  if (config_.balance.force) {
    result.given_N = balanced_choice(x_tD.size(0), gate_->value().size(0), experts_per_token_, context).experts;
  }
  if (const Choice* given = replay_.next(context)) result.given_N = given->experts;
  const variable_list outputs = ChooseFunction::apply(gate(x_tD, *gate_), losses, population_, result);
  const int64_t tokens = x_tD.size(0);
  Routing routing{
      .offsets = at::arange(0, (tokens + 1) * experts_per_token_, experts_per_token_, x_tD.options().dtype(at::kLong)),
      .experts = result.top.experts_N,
      .weights = config_.scale == 1 ? outputs[0] : outputs[0] * config_.scale};
  Choice choice{.offsets = routing.offsets, .experts = routing.experts, .kept = {}};
  const at::Tensor ranking_TE = result.given_N.defined() ? at::Tensor() : result.probabilities_TE;
  return {std::move(routing),      outputs[1], std::move(result.statistics), 0, std::move(choice),
          result.probabilities_TE, ranking_TE};
}

}  // namespace switchyard
