#include "launch/verify/verify.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>

#include "launch/train/train_step.h"
#include "launch/verify/bounds.h"
#include "launch/verify/exchange_parts.h"
#include "launch/verify/job_parts.h"
#include "launch/verify/own_inputs.h"
#include "launch/verify/sides.h"
#include "launch/verify/step_recorder.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

class Verification {
 public:
  Verification(const VerifyOptions& options, Communicator& world)
      : options_(options),
        world_(world),
        bounds_(options.config.model, options.vocabulary,
                options.config.train.global_batch * options.config.data.sequence,
                options.config.train.compute_precision()) {}

  absl::StatusOr<VerifyResult> run() {
    SY_RETURN_IF_ERROR(build_layout(options_, world_, layout_));
    absl::StatusOr<std::unique_ptr<BatchLoader>> batches = nullptr;
    if (world_.rank() == 0) batches = open_batches(options_, {.ranks = 1, .rank = 0});
    SY_RETURN_IF_ERROR(agree(world_, batches.status()));
    own_inputs_ = std::make_unique<OwnInputs>(options_.config, *std::move(batches), world_);
    SY_ASSIGN_OR_RETURN(reference_, make_reference(options_, layout_, bounds_.forward(), world_, other_));
    result_.reference = reference_->describe();
    tell(absl::StrCat("reference   ", result_.reference));
    SY_RETURN_IF_ERROR(compare_copies(Quantity::kInitialValues, 0, reference_->parameters()));
    while (result_.steps < options_.steps && result_.pass()) {
      SY_RETURN_IF_ERROR(run_step(result_.steps));
      ++result_.steps;
    }
    return std::move(result_);
  }

 private:
  absl::Status run_step(int64_t step);
  absl::Status compare_step(int64_t step, const StepRecord& record, const ReferenceStep& reference);
  absl::Status compare_update(int64_t step, const StepOutcome& outcome, const std::vector<TensorPart>& before);
  absl::Status compare_router_state(int64_t step);
  absl::Status adopt(std::span<const TensorPart> layout, const std::vector<TensorPart>& reference);
  absl::Status compare_copies(Quantity quantity, int64_t step, const std::vector<TensorPart>& masters);
  absl::Status add(Quantity quantity, int64_t step, Held held, std::span<const TensorPart> reference,
                   std::span<const TensorPart> layout, const MeasureOf& measure);
  void add_flips(int64_t step, const Flips& flips, Flips& all, const std::string& by);
  void tell(const std::string& line) const {
    if (options_.tell) options_.tell(line);
  }

  const VerifyOptions& options_;
  Communicator& world_;
  const Bounds bounds_;
  Layout layout_;
  OtherLayout other_;
  std::unique_ptr<OwnInputs> own_inputs_;
  std::unique_ptr<Reference> reference_;
  VerifyResult result_;
};

absl::Status Verification::add(Quantity quantity, int64_t step, Held held, std::span<const TensorPart> reference,
                               std::span<const TensorPart> layout, const MeasureOf& measure) {
  SY_ASSIGN_OR_RETURN(std::vector<Row> rows, compare(world_, quantity, step, held, reference, layout, measure));
  std::move(rows.begin(), rows.end(), std::back_inserter(result_.rows));
  return absl::OkStatus();
}

// Relative to the reference's norm.
MeasureOf relative(double bound) {
  return
      [bound](const std::string&, const Compared& compared) { return Measure{.scale = compared.norm, .bound = bound}; };
}

// The same for gradients, some of which are what is left where large terms cancel.
MeasureOf relative_to_terms(double bound) {
  return [bound](const std::string&, const Compared& compared) {
    const double share = static_cast<double>(compared.elements) / static_cast<double>(compared.all_elements);
    return Measure{.scale = Bounds::scale(compared.norm, compared.all_norm * std::sqrt(share)), .bound = bound};
  };
}

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

absl::Status Verification::run_step(int64_t step) {
  const std::vector<TensorPart> before = cloned(master_parts(*layout_.job));
  own_inputs_->begin_step(*layout_.job);
  StepRecorder recorder(*layout_.job, &layout_.routers);
  const absl::Time start = absl::Now();
  SY_ASSIGN_OR_RETURN(const StepOutcome outcome, train_step(*layout_.job));
  const absl::Time middle = absl::Now();
  SY_ASSIGN_OR_RETURN(OwnInputs::Result own,
                      own_inputs_->compare(step, recorder.record(), recorder.routing(), outcome.loss));
  std::ranges::move(own.rows, std::back_inserter(result_.rows));
  add_flips(step, own.flips, result_.own_flips, "by their own inputs");
  SY_ASSIGN_OR_RETURN(const ReferenceStep reference, reference_->run(step, own.choices));
  add_flips(step, reference.flips, result_.flips, "by the reference's inputs");
  tell(absl::StrFormat("step %d/%d    layout %.1f s, reference %.1f s", step + 1, options_.steps,
                       absl::ToDoubleSeconds(middle - start), absl::ToDoubleSeconds(absl::Now() - middle)));
  SY_RETURN_IF_ERROR(compare_step(step, recorder.record(), reference));
  return compare_update(step, outcome, before);
}

absl::Status Verification::compare_step(int64_t step, const StepRecord& record, const ReferenceStep& reference) {
  SY_RETURN_IF_ERROR(
      add(Quantity::kLogits, step, Held::kOnce, reference.record.logits, record.logits, relative(bounds_.forward())));
  SY_RETURN_IF_ERROR(add(Quantity::kInputGradients, step, Held::kOnce, reference.record.input_gradients,
                         record.input_gradients, relative(bounds_.backward())));
  return add(Quantity::kGradients, step, Held::kOnce, reference.gradients, gradient_parts(*layout_.job),
             relative_to_terms(bounds_.backward()));
}

absl::Status Verification::compare_update(int64_t step, const StepOutcome& outcome,
                                          const std::vector<TensorPart>& before) {
  SY_RETURN_IF_ERROR(adopt(gradient_parts(*layout_.job), reference_->gradients()));
  const std::vector<TensorPart> reference_before = cloned(reference_->parameters());
  SY_ASSIGN_OR_RETURN(const double norm, reference_->update(step));
  const std::vector<TensorPart> reference_after = reference_->parameters();

  int64_t elements = 0;
  std::map<std::string, double> value_norms;
  SY_RETURN_IF_ERROR(exchange_parts(world_, reference_after, [&](const TensorPart& part) {
    elements += part.data.numel();
    const double part_norm = part.data.to(at::kDouble).norm().item<double>();
    double& whole = value_norms[part.name];
    whole = std::hypot(whole, part_norm);
  }));
  SY_RETURN_IF_ERROR(add(Quantity::kGradientNorm, step, Held::kEverywhere,
                         world_.rank() == 0 ? scalar("gradient norm", norm) : std::vector<TensorPart>(),
                         scalar("gradient norm", outcome.grad_norm), relative(Bounds::norm(elements))));
  SY_RETURN_IF_ERROR(add(Quantity::kUpdates, step, Held::kOnce, differences(reference_after, reference_before),
                         differences(master_parts(*layout_.job), before),
                         [&](const std::string& name, const Compared& compared) {
                           // A tensor that does not move is measured by its values.
                           const double values = value_norms[name];
                           const double moved = compared.norm > 0 ? compared.norm : values;
                           return Measure{.scale = moved, .bound = bounds_.update(moved > 0 ? values / moved : 1)};
                         }));
  const std::vector<TensorPart> masters = master_parts(*layout_.job);
  SY_RETURN_IF_ERROR(compare_copies(Quantity::kCopies, step, masters));
  SY_RETURN_IF_ERROR(compare_router_state(step));
  SY_RETURN_IF_ERROR(adopt(masters, reference_->parameters()));
  return reference_->adopted();
}

absl::Status Verification::compare_router_state(int64_t step) {
  const std::vector<TensorPart> state = router_state_parts(*layout_.job), reference = reference_->router_state();
  const std::vector<TensorPart> none;
  const bool first = world_.rank() == 0;
  SY_RETURN_IF_ERROR(add(Quantity::kRouterState, step, Held::kEverywhere, first ? reference : none, state,
                         relative(bounds_.backward())));
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
  return add(quantity, step, Held::kCopies, rounded, value_parts(*layout_.job), relative(0));
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
