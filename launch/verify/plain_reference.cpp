#include "launch/verify/plain_reference.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "parallel/optimizer/schedule.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

std::vector<TensorPart> parts_of(PlainDecoder& model, at::Tensor PlainParameter::*tensor,
                                 const std::string& prefix = "") {
  std::vector<TensorPart> parts;
  for (PlainParameter& parameter : model.parameters().all()) {
    parts.push_back(whole_part(prefix + parameter.name, parameter.*tensor));
  }
  return parts;
}

}  // namespace

PlainReference::PlainReference(const RunConfig& config, int64_t vocabulary, std::unique_ptr<BatchLoader> batches,
                               double margin, std::function<void(const std::string&)> tell, Communicator& world)
    : config_(config), world_(world), margin_(margin), tell_(std::move(tell)), batches_(std::move(batches)) {
  if (!batches_) return;
  model_ = std::make_unique<PlainDecoder>(config.model, vocabulary, config.train.compute_precision(),
                                          static_cast<uint64_t>(config.run.seed), one_rank_.mesh());
}

std::string PlainReference::describe() const {
  const bool own_router = config_.model.moe.experts > 0 && !is_written_out(config_.model.moe.router);
  return absl::StrCat("one rank, plain operations in fp64, a dense loop over experts; from the layout it has loader, ",
                      "random numbers, learning rate", own_router ? ", and the bayesian routers" : "");
}

absl::StatusOr<ReferenceStep> PlainReference::run(int64_t step, const Choices& choices) {
  absl::StatusOr<ReferenceStep> result = model_ ? compute(step, choices) : ReferenceStep{};
  // Rank 0 takes as long as it takes.
  SY_RETURN_IF_ERROR(world_.barrier(Call(absl::InfiniteDuration())).wait());
  SY_ASSIGN_OR_RETURN(ReferenceStep agreed, agree(world_, std::move(result)));
  SY_ASSIGN_OR_RETURN(agreed.flips, broadcast_flips(world_, agreed.flips));
  return agreed;
}

absl::StatusOr<ReferenceStep> PlainReference::compute(int64_t step, const Choices& choices) {
  std::vector<TokenBatch> parts;
  int64_t targets = 0;  // counted here, whatever the source makes of them
  for (int64_t part = 0; part < config_.train.accumulation; ++part) {
    SY_ASSIGN_OR_RETURN(TokenBatch batch, batches_->load(step, part));
    targets += batch.targets.ge(0).sum().item<int64_t>();
    parts.push_back(std::move(batch));
  }
  ReferenceStep result;
  model_->parameters().zero_gradients();
  for (TokenBatch& batch : parts) {
    batch.global_targets = targets;
    run_part(batch, choices[batch.part], result);
  }
  result.gradients = gradients();
  return result;
}

void PlainReference::run_part(const TokenBatch& batch, const std::vector<Choice>& choices, ReferenceStep& result) {
  size_t next = 0;
  PlainOutput output = model_->forward(
      batch, [&](int64_t layer, PlainRouter& router, const at::Tensor& x_TD, const TokenContext& context) {
        tell_of(batch, absl::StrCat("layer ", layer));
        const Choice& choice = choices.at(next++);
        result.flips.add(count_flips(router, x_TD, context, choice, config_.model.moe.experts, margin_,
                                     absl::StrCat("layer ", layer, ", part ", batch.part)));
        return choice;
      });
  tell_of(batch, "backward");
  (output.loss + output.auxiliary_loss).backward();

  const int64_t row = batch.part * batch.part_tokens, rows = batch.parts * batch.part_tokens;
  result.record.logits.push_back(rows_part("logits", row, rows, output.logits_TV.detach()));
  for (size_t i = 0; i < output.block_inputs.size(); ++i) {
    result.record.input_gradients.push_back(
        rows_part(absl::StrCat("layers.", i, ".input"), row, rows, output.block_inputs[i].grad()));
  }
}

void PlainReference::tell_of(const TokenBatch& batch, const std::string& what) {
  constexpr absl::Duration kPause = absl::Seconds(10);
  if (!tell_ || absl::Now() - told_ < kPause) return;
  told_ = absl::Now();
  tell_(absl::StrCat("            reference: part ", batch.part + 1, " of ", batch.parts, ", ", what));
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

std::vector<TensorPart> PlainReference::moments() {
  if (!model_) return {};
  std::vector<TensorPart> parts = parts_of(*model_, &PlainParameter::m, "optimizer.m.");
  std::ranges::move(parts_of(*model_, &PlainParameter::v, "optimizer.v."), std::back_inserter(parts));
  return parts;
}

std::vector<TensorPart> PlainReference::router_state() {
  return model_ ? parts_of(model_->router_buffers()) : std::vector<TensorPart>();
}

absl::Status PlainReference::adopted() {
  if (model_) model_->parameters().round_values();
  return absl::OkStatus();
}

}  // namespace switchyard
