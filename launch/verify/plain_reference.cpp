#include "launch/verify/plain_reference.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "parallel/optimizer/schedule.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

// A flip whose margin is a tenth of the perturbations' size is missed by one in 2¹⁰⁰.
constexpr int kPerturbations = 100;

std::vector<TensorPart> parts_of(PlainDecoder& model, at::Tensor PlainParameter::*tensor) {
  std::vector<TensorPart> parts;
  for (PlainParameter& parameter : model.parameters().all()) {
    parts.push_back(whole_part(parameter.name, parameter.*tensor));
  }
  return parts;
}

TensorPart rows_part(std::string name, int64_t row, int64_t rows, const at::Tensor& data) {
  return {.name = std::move(name),
          .dtype = at::kDouble,
          .shape = {rows, data.size(1)},
          .box = {{row, 0}, {data.size(0), data.size(1)}},
          .data = data};
}

}  // namespace

PlainReference::PlainReference(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches,
                               double margin, Communicator& world)
    : config_(config), world_(world), margin_(margin), alone_(1), batches_(std::move(batches)) {
  if (!batches_) return;
  one_rank_ = value_or_throw(Mesh::create(alone_.rank(0), MeshShape{}));
  model_ = std::make_unique<PlainDecoder>(config.model, vocabulary, config.train.compute_precision(),
                                          static_cast<uint64_t>(config.run.seed), *one_rank_);
}

std::string PlainReference::describe() const {
  const bool mixture = config_.model.moe.experts > 0;
  return absl::StrCat("one rank, plain operations in fp64, a dense loop over experts",
                      !mixture                                   ? ""
                      : is_written_out(config_.model.moe.router) ? ", routing written out"
                                                                 : "; of the model that trains only the router");
}

absl::StatusOr<ReferenceStep> PlainReference::run(int64_t step, const Choices& choices) {
  absl::StatusOr<ReferenceStep> result = model_ ? compute(step, choices) : ReferenceStep{};
  // Rank 0 takes as long as it takes.
  SY_RETURN_IF_ERROR(world_.barrier(Call(absl::InfiniteDuration())).wait());
  SY_ASSIGN_OR_RETURN(ReferenceStep agreed, agree(world_, std::move(result)));
  const Flips& flips = agreed.flips;
  const at::Tensor counts = at::tensor({flips.tokens, flips.flipped, flips.unexplained});
  SY_RETURN_IF_ERROR(world_.broadcast(counts, 0).wait());
  SY_ASSIGN_OR_RETURN(std::string first, broadcast_text(world_, flips.first));
  const int64_t* count = counts.const_data_ptr<int64_t>();
  agreed.flips = {.tokens = count[0], .flipped = count[1], .unexplained = count[2], .first = std::move(first)};
  return agreed;
}

absl::StatusOr<ReferenceStep> PlainReference::compute(int64_t step, const Choices& choices) {
  ReferenceStep result;
  model_->parameters().zero_gradients();
  double loss = 0;
  for (int64_t part = 0; part < config_.train.accumulation; ++part) {
    SY_ASSIGN_OR_RETURN(const double part_loss, run_part(step, part, choices[part], result));
    loss += part_loss;
  }
  result.loss = {whole_part("loss", at::full({1}, loss, at::kDouble))};
  result.gradients = gradients();
  return result;
}

absl::StatusOr<double> PlainReference::run_part(int64_t step, int64_t part, const std::vector<Choice>& choices,
                                                ReferenceStep& result) {
  SY_ASSIGN_OR_RETURN(const TokenBatch batch, batches_->load(step, part));
  size_t next = 0;
  PlainOutput output = model_->forward(
      batch, [&](int64_t layer, PlainRouter& router, const at::Tensor& x_TD, const TokenContext& context) {
        const Choice& choice = choices.at(next++);
        count_flips(layer, router, x_TD, context, choice, result.flips);
        return choice;
      });
  (output.loss + output.auxiliary_loss).backward();

  const int64_t row = part * batch.part_tokens, rows = batch.parts * batch.part_tokens;
  result.record.logits.push_back(rows_part("logits", row, rows, output.logits_TV.detach()));
  for (size_t i = 0; i < output.block_inputs.size(); ++i) {
    result.record.input_gradients.push_back(
        rows_part(absl::StrCat("layers.", i, ".input"), row, rows, output.block_inputs[i].grad()));
  }
  for (const auto& [layer, statistics] : output.routers) record_statistics(layer, part, statistics, result.record);
  return output.loss.item<double>();
}

// A choice that the layout's rounding has flipped is one that some perturbation of that size flips here, too.
void PlainReference::count_flips(int64_t layer, PlainRouter& router, const at::Tensor& x_TD,
                                 const TokenContext& context, const Choice& choice, Flips& flips) const {
  const int64_t experts = config_.model.moe.experts;
  const at::Tensor x = x_TD.detach();
  at::Tensor left = differing_tokens(router.choose(x, context), choice, experts);
  flips.tokens += x.size(0);
  flips.flipped += left.sum().item<int64_t>();
  at::Generator random = at::detail::createCPUGenerator(1);
  const at::Tensor size_T1 = margin_ * x.square().mean(1, true).sqrt();
  for (int i = 0; i < kPerturbations && left.any().item<bool>(); ++i) {
    const at::Tensor noise = size_T1 * at::randn(x.sizes(), random, x.options());
    for (const double sign : {1.0, -1.0}) {
      left = left.logical_and(differing_tokens(router.choose(x + sign * noise, context), choice, experts));
    }
  }
  const int64_t unexplained = left.sum().item<int64_t>();
  if (unexplained > 0 && flips.unexplained == 0) {
    flips.first =
        absl::StrCat("layer ", layer, ", part ", context.part, ", token ", left.nonzero()[0][0].item<int64_t>());
  }
  flips.unexplained += unexplained;
}

std::vector<TensorPart> PlainReference::gradients() {
  return model_ ? parts_of(*model_, &PlainParameter::gradient) : std::vector<TensorPart>();
}

absl::StatusOr<double> PlainReference::update(int64_t step) {
  at::Tensor norm = at::zeros({1}, at::kDouble);
  if (model_) {
    const OptimizerConfig& optimizer = config_.optimizer;
    PlainParameters& parameters = model_->parameters();
    norm.fill_(parameters.gradient_norm());
    const double over = norm.item<double>() + 1e-6;
    const double factor = optimizer.clip > 0 && over > optimizer.clip ? optimizer.clip / over : 1.0;
    parameters.update(optimizer, step + 1, learning_rate(optimizer, step + 1, config_.train.steps), factor);
    model_->finish_step();
  }
  SY_RETURN_IF_ERROR(world_.broadcast(norm, 0).wait());
  return norm.item<double>();
}

std::vector<TensorPart> PlainReference::parameters() {
  return model_ ? parts_of(*model_, &PlainParameter::master) : std::vector<TensorPart>();
}

std::vector<TensorPart> PlainReference::router_state() {
  return model_ ? parts_of(model_->router_buffers()) : std::vector<TensorPart>();
}

absl::Status PlainReference::adopted() {
  if (model_) model_->parameters().round_values();
  return absl::OkStatus();
}

}  // namespace switchyard
