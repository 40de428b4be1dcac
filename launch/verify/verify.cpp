#include "launch/verify/verify.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>

#include "launch/train/train_step.h"
#include "launch/verify/bounds.h"
#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "launch/verify/norms.h"
#include "launch/verify/own_inputs.h"
#include "launch/verify/sides.h"
#include "launch/verify/step_recorder.h"
#include "parallel/gradient/clip.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

// Relative to the reference's norm.
MeasureOf relative(double bound) {
  return [bound](const std::string&, double norm) { return Measure{.scale = norm, .bound = bound}; };
}

constexpr std::string_view kFirstMoment = "optimizer.m.";

std::vector<TensorPart> scalar(const std::string& name, double value) {
  return {whole_part(name, at::full({1}, value, at::kDouble))};
}

std::vector<TensorPart> cloned(std::vector<TensorPart> parts) {
  for (TensorPart& part : parts) part.data = part.data.clone();
  return parts;
}

// after − before in fp64; the same parts in the same order.
std::vector<TensorPart> differences(std::vector<TensorPart> after, const std::vector<TensorPart>& before) {
  for (size_t i = 0; i < after.size(); ++i) {
    after[i].data = after[i].data.to(at::kDouble) - before[i].data.to(at::kDouble);
    after[i].dtype = at::kDouble;
  }
  return after;
}

class Verification {
 public:
  Verification(const VerifyOptions& options, Communicator& world) : options_(options), world_(world) {}

  absl::StatusOr<VerifyResult> run() {
    SY_RETURN_IF_ERROR(build_layout(options_, world_, layout_));
    absl::StatusOr<std::unique_ptr<BatchLoader>> batches = nullptr;
    if (world_.rank() == 0) batches = open_batches(options_, {.ranks = 1, .rank = 0});
    SY_RETURN_IF_ERROR(agree(world_, batches.status()));
    own_inputs_ = std::make_unique<OwnInputs>(options_.config, *std::move(batches), world_);
    SY_ASSIGN_OR_RETURN(reference_, make_reference(options_, layout_, world_, other_));
    bounds_ = bounds_of(options_, reference_->rounds());
    SY_ASSIGN_OR_RETURN(const Norms parameters, norms_of(world_, reference_->parameters()));
    tensors_ = static_cast<int64_t>(parameters.size());
    for (const auto& [name, tensor] : parameters) elements_ += tensor.elements;
    result_.reference = reference_->describe();
    tell(absl::StrCat("reference   ", result_.reference));
    SY_RETURN_IF_ERROR(
        add({Quantity::kInitialMasters}, reference_->parameters(), master_parts(*layout_.job), relative(0)));
    SY_RETURN_IF_ERROR(compare_copies(Quantity::kInitialValues, 0, reference_->parameters()));
    while (result_.steps < options_.steps && result_.pass()) {
      SY_RETURN_IF_ERROR(run_step(result_.steps));
      ++result_.steps;
    }
    SY_RETURN_IF_ERROR(count_changes());
    return std::move(result_);
  }

 private:
  absl::Status run_step(int64_t step);
  absl::Status compare_step(int64_t step, const StepRecord& record, const ReferenceStep& reference);
  absl::Status compare_update(int64_t step, const StepOutcome& outcome, const std::vector<TensorPart>& before);
  absl::Status compare_router_state(int64_t step);
  absl::Status count_changes();
  absl::Status adopt(std::span<const TensorPart> layout, const std::vector<TensorPart>& reference);
  absl::Status compare_copies(Quantity quantity, int64_t step, const std::vector<TensorPart>& masters);
  absl::Status add(const Subject& subject, std::span<const TensorPart> reference, std::span<const TensorPart> layout,
                   const MeasureOf& measure);
  void add_flips(int64_t step, const Flips& flips, Flips& all, const std::string& by);
  int64_t tokens() const { return options_.config.train.global_batch * options_.config.data.sequence; }
  void tell(const std::string& line) const {
    if (options_.tell) options_.tell(line);
  }

  const VerifyOptions& options_;
  Communicator& world_;
  Layout layout_;
  OtherLayout other_;
  std::unique_ptr<OwnInputs> own_inputs_;
  std::unique_ptr<Reference> reference_;
  std::optional<Bounds> bounds_;        // by which reference it is
  int64_t tensors_ = 0, elements_ = 0;  // parameters
  VerifyResult result_;
};

absl::Status Verification::add(const Subject& subject, std::span<const TensorPart> reference,
                               std::span<const TensorPart> layout, const MeasureOf& measure) {
  SY_ASSIGN_OR_RETURN(std::vector<Row> rows, compare(world_, subject, reference, layout, measure));
  std::move(rows.begin(), rows.end(), std::back_inserter(result_.rows));
  return absl::OkStatus();
}

absl::Status Verification::run_step(int64_t step) {
  const std::vector<TensorPart> before = cloned(master_parts(*layout_.job));
  own_inputs_->begin_step(*layout_.job);
  StepRecorder recorder(*layout_.job, &layout_.routers);
  const absl::Time start = absl::Now();
  SY_ASSIGN_OR_RETURN(const StepOutcome outcome, train_step(*layout_.job));
  const absl::Time middle = absl::Now();
  tell(absl::StrFormat("step %d/%d    layout %.1f s", step + 1, options_.steps, absl::ToDoubleSeconds(middle - start)));
  SY_ASSIGN_OR_RETURN(OwnInputs::Result own,
                      own_inputs_->compare(step, recorder.record(), recorder.routing(), outcome.loss));
  std::ranges::move(own.rows, std::back_inserter(result_.rows));
  add_flips(step, own.flips, result_.own_flips, "by their own inputs");
  SY_ASSIGN_OR_RETURN(const ReferenceStep reference, reference_->run(step, own.choices));
  add_flips(step, reference.flips, result_.flips, "by the reference's inputs");
  tell(absl::StrFormat("            reference %.1f s", absl::ToDoubleSeconds(absl::Now() - middle)));
  SY_RETURN_IF_ERROR(compare_step(step, recorder.record(), reference));
  return compare_update(step, outcome, before);
}

absl::Status Verification::compare_step(int64_t step, const StepRecord& record, const ReferenceStep& reference) {
  SY_RETURN_IF_ERROR(add({Quantity::kLogits, step, Held::kOnce, true}, reference.record.logits, record.logits,
                         relative(bounds_->forward(tokens()))));
  SY_RETURN_IF_ERROR(add({Quantity::kInputGradients, step, Held::kOnce, true}, reference.record.input_gradients,
                         record.input_gradients, relative(bounds_->backward(tokens()))));
  SY_ASSIGN_OR_RETURN(const auto terms, gradient_scales(world_, layout_.routers.take_terms(), options_.config));
  return add({Quantity::kGradients, step}, reference.gradients, gradient_parts(*layout_.job),
             [&](const std::string& name, double norm) {
               double scale = norm;
               for (const auto& [router, cancelling] : terms) {
                 if (name.starts_with(router)) scale = std::max(scale, cancelling);
               }
               return Measure{scale, bounds_->gradients(tensors_)};
             });
}

absl::Status Verification::compare_update(int64_t step, const StepOutcome& outcome,
                                          const std::vector<TensorPart>& before) {
  SY_RETURN_IF_ERROR(adopt(gradient_parts(*layout_.job), reference_->gradients()));
  SY_ASSIGN_OR_RETURN(const Norms gradients, norms_of(world_, reference_->gradients()));
  SY_ASSIGN_OR_RETURN(const Norms moments_before, norms_of(world_, reference_->moments()));
  const std::vector<TensorPart> reference_before = cloned(reference_->parameters());
  SY_ASSIGN_OR_RETURN(const double gradient_norm, reference_->update(step));
  const std::vector<TensorPart> reference_after = reference_->parameters();
  SY_ASSIGN_OR_RETURN(const Norms values, norms_of(world_, reference_after));

  SY_RETURN_IF_ERROR(add({Quantity::kGradientNorm, step, Held::kEverywhere},
                         world_.rank() == 0 ? scalar("gradient norm", gradient_norm) : std::vector<TensorPart>(),
                         scalar("gradient norm", outcome.grad_norm), relative(Bounds::norm(elements_))));
  const double factor = clip_factor(gradient_norm, options_.config.optimizer.clip);
  result_.clip_factors.push_back(factor);
  SY_RETURN_IF_ERROR(
      add({Quantity::kMoments, step}, reference_->moments(), moment_parts(*layout_.job),
          [&](const std::string& name, double norm) {
            if (!name.starts_with(kFirstMoment)) return Measure{norm, bounds_->second_moment(elements_)};
            const double gradient = gradients.at(name.substr(kFirstMoment.size())).norm;
            const double share = 1 - options_.config.optimizer.betas[0];
            return Measure{moments_before.at(name).norm + share * factor * gradient, bounds_->first_moment(elements_)};
          }));
  SY_RETURN_IF_ERROR(add({Quantity::kUpdates, step}, differences(reference_after, reference_before),
                         differences(master_parts(*layout_.job), before), [&](const std::string& name, double norm) {
                           // A tensor that does not move is measured by its values.
                           const double size = values.at(name).norm;
                           const double moved = norm > 0 ? norm : size;
                           return Measure{.scale = moved, .bound = bounds_->update(moved > 0 ? size / moved : 1)};
                         }));
  const std::vector<TensorPart> masters = master_parts(*layout_.job);
  SY_RETURN_IF_ERROR(compare_copies(Quantity::kCopies, step, masters));
  SY_RETURN_IF_ERROR(compare_router_state(step));
  SY_RETURN_IF_ERROR(adopt(masters, reference_->parameters()));
  SY_RETURN_IF_ERROR(adopt(moment_parts(*layout_.job), reference_->moments()));
  return reference_->adopted();
}

absl::Status Verification::compare_router_state(int64_t step) {
  const std::vector<TensorPart> state = router_state_parts(*layout_.job), reference = reference_->router_state();
  const std::vector<TensorPart> none;
  const bool first = world_.rank() == 0;
  SY_RETURN_IF_ERROR(add({Quantity::kRouterState, step, Held::kEverywhere}, first ? reference : none, state,
                         relative(bounds_->backward(tokens()))));
  return adopt(first ? state : none, reference);
}

// Writes the layout's parts over the reference's.
absl::Status Verification::adopt(std::span<const TensorPart> layout, const std::vector<TensorPart>& reference) {
  return exchange_parts(world_, layout, [&](const TensorPart& from) {
    for (const TensorPart& into : reference) {
      if (into.name == from.name) copy_overlap(from, into);
    }
  });
}

// That every rank computes with what the owners hold, rounded to the values' dtype: equal bits.
absl::Status Verification::compare_copies(Quantity quantity, int64_t step, const std::vector<TensorPart>& masters) {
  std::vector<TensorPart> rounded = masters;
  const at::ScalarType dtype = compute_dtype(options_.config.train.compute_precision());
  for (TensorPart& part : rounded) {
    // By way of fp32, which masters of bf16 values are kept in.
    part.data = part.data.to(accumulate_dtype(dtype)).to(dtype);
    part.dtype = dtype;
  }
  return add({quantity, step, Held::kCopies}, rounded, value_parts(*layout_.job), relative(0));
}

void Verification::add_flips(int64_t step, const Flips& flips, Flips& all, const std::string& by) {
  all.add(flips);
  if (flips.tokens == 0) return;
  result_.rows.push_back({.quantity = Quantity::kChoices,
                          .step = step,
                          .name = flips.unexplained > 0 ? flips.first : "all layers, " + by,
                          .deviation = static_cast<double>(flips.unexplained),
                          .bound = 0});
}

// A planted bug that changes nothing could not be seen by anything.
absl::Status Verification::count_changes() {
  if (options_.inject.empty()) return absl::OkStatus();
  const at::Tensor changed = at::tensor({layout_.injection.changes->numbers()}, at::kLong);
  SY_RETURN_IF_ERROR(world_.all_reduce(changed, ReduceOp::kSum).wait());
  result_.planted_changes = changed.item<int64_t>();
  if (result_.planted_changes > 0) return absl::OkStatus();
  return error(ErrorCategory::kUsage,
               absl::StrCat("--inject ", options_.inject,
                            " changed nothing: this layout, model or data gives it nothing to act on"));
}

}  // namespace

bool VerifyResult::pass() const {
  return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.pass(); });
}

absl::StatusOr<VerifyResult> verify_layout(const VerifyOptions& options, Communicator& world) try {
  return Verification(options, world).run();
} catch (const StatusError& failure) {
  return failure.status();
}

}  // namespace switchyard
