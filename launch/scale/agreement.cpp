#include "launch/scale/agreement.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "launch/verify/bounds.h"
#include "launch/verify/round_off.h"

namespace switchyard {
namespace {

class LossBounds {
 public:
  // `compared`: losses in all.
  LossBounds(const PlannedRun& run, int64_t compared)
      : tokens_(static_cast<double>(run.config.train.global_batch * run.config.data.sequence)),
        unit_(accumulated_unit(run.config.train.compute_precision())),
        lambda_(std::sqrt(2 * std::log(2 * static_cast<double>(compared)))),
        compared_(compared),
        bounds_(run.config.model,
                {.vocabulary = run.vocabulary,
                 .sequence = run.config.data.sequence,
                 .tokens = run.config.train.global_batch * run.config.data.sequence},
                run.config.train.compute_precision(), /*both_round=*/true) {}

  // Of step `index`, counted from 0.
  double of_loss(const RunFigures& figures, size_t index) const {
    const double logits = bounds_.forward(compared_) / std::sqrt(tokens_);
    const double sum = lambda_ * std::sqrt(2 * tokens_) * unit_;
    double bound = figures.losses[index] * std::hypot(logits, sum);
    for (size_t before = 0; before < index; ++before) {
      bound += lambda_ * figures.gradient_norms[before] * figures.rates[before] * std::sqrt(bounds_.gradients(1));
    }
    return bound;
  }
  double of_gradient_norm(const RunFigures& figures) const {
    return figures.gradient_norms[0] * bounds_.gradients(compared_);
  }

 private:
  double tokens_, unit_, lambda_;
  int64_t compared_;
  Bounds bounds_;
};

// What is no number is worst of all.
double share_of_bound(double deviation, double bound) {
  if (std::isnan(deviation)) return std::numeric_limits<double>::infinity();
  return deviation == 0 ? 0 : deviation / bound;
}

void take_worse(LossCheck& worst, int64_t step, double deviation, double bound) {
  if (step > 1 && !(share_of_bound(deviation, bound) > share_of_bound(worst.deviation, worst.bound))) return;
  worst.step = step;
  worst.deviation = deviation;
  worst.bound = bound;
}

LossCheck compare_losses(const MeasuredRun& run, const MeasuredRun& reference, const LossBounds* bounds) {
  LossCheck worst{.what = "loss", .run = run.plan.name(), .reference = reference.plan.name()};
  const size_t steps = std::min(run.figures.losses.size(), reference.figures.losses.size());
  for (size_t i = 0; i < steps; ++i) {
    const double deviation = std::abs(run.figures.losses[i] - reference.figures.losses[i]);
    take_worse(worst, static_cast<int64_t>(i) + 1, deviation, bounds ? bounds->of_loss(reference.figures, i) : 0);
  }
  return worst;
}

LossCheck compare_gradient_norms(const MeasuredRun& run, const MeasuredRun& reference, const LossBounds& bounds) {
  const double deviation = std::abs(run.figures.gradient_norms[0] - reference.figures.gradient_norms[0]);
  return {.what = "gradient norm",
          .run = run.plan.name(),
          .reference = reference.plan.name(),
          .deviation = deviation,
          .bound = bounds.of_gradient_norm(reference.figures)};
}

// Whether its losses are numbers; the check that fails otherwise, for a run that has no other beside it.
bool is_finite(const MeasuredRun& run, LossCheck& failed) {
  failed = {.what = "loss", .run = run.plan.name(), .reference = "a finite loss"};
  for (size_t i = 0; i < run.figures.losses.size(); ++i) {
    if (std::isfinite(run.figures.losses[i])) continue;
    failed.step = static_cast<int64_t>(i) + 1;
    failed.deviation = std::numeric_limits<double>::quiet_NaN();
    return false;
  }
  return true;
}

}  // namespace

std::vector<LossCheck> check_losses(const std::vector<MeasuredRun>& runs, const std::string& mode) {
  const auto find = [&runs](auto wanted) -> const MeasuredRun* {
    const auto found = std::find_if(runs.begin(), runs.end(), wanted);
    return found == runs.end() ? nullptr : &*found;
  };
  const MeasuredRun* const first = find([](const MeasuredRun& run) { return run.plan.reference_of == 0; });
  int64_t compared = 1;
  for (const MeasuredRun& run : runs) compared += static_cast<int64_t>(run.figures.losses.size());

  std::vector<LossCheck> checks;
  for (const MeasuredRun& run : runs) {
    if (run.plan.reference_of > 0) continue;
    const MeasuredRun* const alike = find([&run](const MeasuredRun& other) {
      return other.plan.reference_of == 0 && other.plan.ranks == run.plan.ranks;
    });
    const LossBounds bounds(run.plan, compared);
    if (alike != &run) {
      const ParallelConfig& parallel = run.plan.config.parallel;
      const bool equal_bits = parallel.dispatcher != "auto" && parallel.dispatch_chunks != 0;
      checks.push_back(compare_losses(run, *alike, equal_bits ? nullptr : &bounds));
      continue;
    }
    if (LossCheck failed; !is_finite(run, failed)) checks.push_back(std::move(failed));
    if (&run == first) continue;
    const MeasuredRun* const reference =
        mode == "strong" ? first
                         : find([&run](const MeasuredRun& other) { return other.plan.reference_of == run.plan.ranks; });
    if (reference == nullptr) continue;
    checks.push_back(compare_losses(run, *reference, &bounds));
    if (mode == "strong") checks.push_back(compare_gradient_norms(run, *reference, bounds));
  }
  return checks;
}

}  // namespace switchyard
