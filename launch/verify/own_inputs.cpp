#include "launch/verify/own_inputs.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/time/time.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/gather_rows.h"
#include "launch/verify/own_loss.h"
#include "launch/verify/round_off.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

// Rank 0's on all ranks.
absl::StatusOr<std::map<std::string, Measure>> share(Communicator& world,
                                                     const std::map<std::string, Measure>& measures) {
  std::vector<TensorPart> parts;
  for (const auto& [name, measure] : measures) {
    parts.push_back(whole_part(name, at::tensor({measure.scale, measure.bound}, at::kDouble)));
  }
  std::map<std::string, Measure> shared;
  SY_RETURN_IF_ERROR(exchange_parts(world, parts, [&](const TensorPart& part) {
    shared[part.name] = {.scale = part.data[0].item<double>(), .bound = part.data[1].item<double>()};
  }));
  return shared;
}

}  // namespace

OwnInputs::OwnInputs(const RunConfig& config, std::unique_ptr<BatchLoader> batches, Communicator& world)
    : config_(config),
      world_(world),
      batches_(std::move(batches)),
      judge_(batches_ ? std::make_unique<RouterJudge>(config) : nullptr) {}

void OwnInputs::begin_step(const Job& job) {
  if (judge_) judge_->begin_step(job);
}

absl::Status OwnInputs::load(int64_t step) {
  parts_.clear();
  for (int64_t part = 0; batches_ && part < config_.train.accumulation; ++part) {
    SY_ASSIGN_OR_RETURN(TokenBatch batch, batches_->load(step, part));
    parts_.push_back(std::move(batch));
  }
  return absl::OkStatus();
}

absl::StatusOr<OwnInputs::Result> OwnInputs::compare(int64_t step, const StepRecord& record,
                                                     const RoutingRecord& routing, double loss) {
  SY_RETURN_IF_ERROR(agree(world_, load(step)));
  Result result;
  for (int64_t part = 0; part < config_.train.accumulation; ++part) {
    SY_RETURN_IF_ERROR(compare_part(step, part, routing, result));
  }
  SY_RETURN_IF_ERROR(compare_loss(step, record, loss, result.rows));
  return result;
}

// A token's terms are rounded to fp32 each (a sum over the vocabulary by √V of that), and so are a part's sum and its
// share; the tokens' are added up in fp64.
absl::Status OwnInputs::compare_loss(int64_t step, const StepRecord& record, double loss, std::vector<Row>& rows) {
  const int64_t tokens = config_.train.global_batch * config_.data.sequence;
  at::Tensor targets_T = at::empty({tokens}, at::kLong);
  if (!parts_.empty()) {
    std::vector<at::Tensor> targets;
    for (const TokenBatch& part : parts_) targets.push_back(part.targets);
    targets_T = at::cat(targets);
  }
  SY_RETURN_IF_ERROR(world_.broadcast(targets_T, 0).wait());
  SY_ASSIGN_OR_RETURN(const OwnLoss own, loss_of_logits(world_, record.logits, targets_T));
  const double count = std::max<double>(1, targets_T.ge(0).sum().item<double>());
  const double vocabulary = record.logits.empty() ? 1 : static_cast<double>(record.logits.front().shape[1]);
  const double bound = (std::sqrt(vocabulary) + 5) * accumulated_unit(config_.train.compute_precision()) +
                       std::sqrt(static_cast<double>(tokens)) * kUnitFp64;
  const std::vector<TensorPart> reference = {whole_part("loss", at::full({1}, own.loss / count, at::kDouble))};
  const std::vector<TensorPart> layout = {whole_part("loss", at::full({1}, loss, at::kDouble))};
  SY_ASSIGN_OR_RETURN(std::vector<Row> more,
                      switchyard::compare(world_, {Quantity::kLoss, step, Held::kEverywhere},
                                          world_.rank() == 0 ? reference : std::vector<TensorPart>(), layout,
                                          [&](const std::string&, double) {
                                            return Measure{own.terms / count, bound};
                                          }));
  std::ranges::move(more, std::back_inserter(rows));
  return absl::OkStatus();
}

absl::Status OwnInputs::compare_part(int64_t step, int64_t part, const RoutingRecord& routing, Result& result) {
  const std::vector<Routed>& mine = routing.routed.at(part);
  std::vector<Routed> all;
  std::vector<Choice>& choices = result.choices.emplace_back();
  std::vector<TensorPart> weights, losses, token_counts;  // the layout's
  int64_t index = 0;
  for (int64_t layer = 0; layer < config_.model.layers; ++layer) {
    if (!config_.model.is_moe_layer(layer)) continue;
    SY_ASSIGN_OR_RETURN(Routed routed, gather_routed(world_, mine.at(index++)));
    choices.push_back(routed.choice);
    std::ranges::move(loss_parts(layer, part, routed.statistics), std::back_inserter(losses));
    std::ranges::move(count_parts(layer, part, routed.statistics), std::back_inserter(token_counts));
    if (!judge_) continue;
    weights.push_back(weights_part(layer, part, routed.weights_N));
    all.push_back(std::move(routed));
  }
  if (index == 0) return absl::OkStatus();
  const at::Tensor auxiliary_loss = at::full({1}, routing.auxiliary_losses.at(part), at::kDouble);
  SY_RETURN_IF_ERROR(world_.all_reduce(auxiliary_loss, ReduceOp::kSum).wait());
  losses.push_back(whole_part(auxiliary_loss_name(part), auxiliary_loss));

  RouterJudge::Verdict verdict;
  if (judge_) verdict = judge_->judge(parts_.at(part), all);
  // Rank 0 takes as long as it takes.
  SY_RETURN_IF_ERROR(world_.barrier(Call(absl::InfiniteDuration())).wait());
  SY_ASSIGN_OR_RETURN(const Flips flips, broadcast_flips(world_, verdict.flips));
  result.flips.add(flips);
  SY_ASSIGN_OR_RETURN(const auto measures, share(world_, verdict.measures));
  const auto add = [&](Quantity quantity, Held held, const std::vector<TensorPart>& reference,
                       const std::vector<TensorPart>& layout) -> absl::Status {
    SY_ASSIGN_OR_RETURN(std::vector<Row> rows,
                        switchyard::compare(world_, {quantity, step, held}, reference, layout,
                                            [&](const std::string& name, double norm) {
                                              const auto it = measures.find(name);
                                              return it == measures.end() ? Measure{norm, 0} : it->second;
                                            }));
    std::ranges::move(rows, std::back_inserter(result.rows));
    return absl::OkStatus();
  };
  SY_RETURN_IF_ERROR(add(Quantity::kWeights, Held::kOnce, verdict.weights, weights));
  SY_RETURN_IF_ERROR(add(Quantity::kTokenCounts, Held::kEverywhere, verdict.token_counts, token_counts));
  return add(Quantity::kAuxiliaryLosses, Held::kEverywhere, verdict.losses, losses);
}

}  // namespace switchyard
