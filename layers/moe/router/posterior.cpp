#include "layers/moe/router/posterior.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "layers/moe/router/selection.h"
#include "runtime/base/status.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

constexpr int64_t kBins = 10;
constexpr uint64_t kDrawsOfCell = 256;

// Gamma(shape, 1) by Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), from draws that
// belong to `cell` alone. A shape below 1 is raised by one and the draw scaled back.
double gamma(const CounterRandom& random, uint64_t cell, double shape) {
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  uint64_t draw = cell * kDrawsOfCell;
  const double factor = shape < 1 ? std::pow(1 - random.uniform(draw), 1 / shape) : 1;
  while (true) {
    ++draw;
    const double x = random.normal(draw), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - random.uniform(draw)) < 0.5 * x * x + d - d * v + d * std::log(v)) return factor * d * v;
  }
}

}  // namespace

ExpertPosterior::ExpertPosterior(const std::string& name, int64_t width, int64_t experts, const BayesianConfig& config,
                                 uint64_t seed)
    : name_(name),
      config_(config),
      seed_(seed),
      projection_CD_(at::empty({config.clusters, width}, at::kDouble)),
      counts_2CE_(at::full({2, config.clusters, experts}, config.prior, at::kDouble)),
      calibration_(at::zeros({3, kBins}, at::kDouble)),
      noted_2CE_(at::zeros_like(counts_2CE_)),
      noted_calibration_(at::zeros_like(calibration_)) {
  CounterRandom(seed, hash_name(name + ".clusters"))
      .normals(0, {projection_CD_.mutable_data_ptr<double>(), static_cast<size_t>(projection_CD_.numel())});
}

at::Tensor ExpertPosterior::clusters(const at::Tensor& x_TD) const {
  const at::NoGradGuard no_grad;
  const at::ScalarType dtype = x_TD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::mm(x_TD.to(dtype), projection_CD_.to(x_TD.device(), dtype).t()).argmax(1).cpu();
}

at::Tensor ExpertPosterior::mean() const {
  return counts_2CE_[0] / counts_2CE_.sum(0);
}

at::Tensor ExpertPosterior::explore(int64_t step, int64_t part) const {
  if (config_.explore == "none") return mean();
  if (config_.explore == "ucb") {
    const at::Tensor total = counts_2CE_.sum(0);
    return mean() + config_.strength * (counts_2CE_[0] * counts_2CE_[1] / (total * total * (total + 1))).sqrt();
  }
  const CounterRandom random(seed_, hash_name(absl::StrCat(name_, ".thompson#", step, "#", part)));
  at::Tensor drawn = at::empty(counts_2CE_.sizes().slice(1), at::kDouble);
  double* out = drawn.mutable_data_ptr<double>();
  const int64_t cells = drawn.numel();
  const double* counts = counts_2CE_.const_data_ptr<double>();
  for (int64_t i = 0; i < cells; ++i) {
    const double good = gamma(random, 2 * i, counts[i]), bad = gamma(random, 2 * i + 1, counts[cells + i]);
    out[i] = good / (good + bad);
  }
  return drawn;
}

void ExpertPosterior::observe(const at::Tensor& cells_N, const at::Tensor& good_N, const at::Tensor& confidence_N) {
  const at::Tensor good = good_N.to(at::kDouble), ones = at::ones_like(good);
  noted_2CE_[0].view({-1}).index_add_(0, cells_N, good);
  noted_2CE_[1].view({-1}).index_add_(0, cells_N, 1 - good);
  const at::Tensor confidence = confidence_N.to(at::kDouble);
  const at::Tensor bins = (confidence * kBins).to(at::kLong).clamp(0, kBins - 1);
  noted_calibration_[0].index_add_(0, bins, ones);
  noted_calibration_[1].index_add_(0, bins, confidence);
  noted_calibration_[2].index_add_(0, bins, good);
}

void ExpertPosterior::take(Communicator* ranks) {
  const at::Tensor sums = at::cat({noted_2CE_.view({-1}), noted_calibration_.view({-1})});
  if (ranks != nullptr && ranks->size() > 1) throw_if_error(ranks->all_reduce(sums, ReduceOp::kSum).wait());
  const at::Tensor outcomes = sums.narrow(0, 0, noted_2CE_.numel()).view_as(noted_2CE_);
  counts_2CE_.sub_(config_.prior).mul_(config_.forgetting).add_(config_.prior).add_(outcomes);
  calibration_.copy_(sums.narrow(0, noted_2CE_.numel(), calibration_.numel()).view_as(calibration_));
  discard();
}

void ExpertPosterior::discard() {
  noted_2CE_.zero_();
  noted_calibration_.zero_();
}

double ExpertPosterior::calibration_error() const {
  const double outcomes = calibration_[0].sum().item<double>();
  return outcomes > 0 ? (calibration_[1] - calibration_[2]).abs().sum().item<double>() / outcomes : -1;
}

Choice ExpertPosterior::route(const at::Tensor& x_TD, int64_t count, int64_t step) const {
  return top_k(explore(step, 0).index_select(0, clusters(x_TD)), count);
}

at::Tensor ExpertPosterior::predict(const at::Tensor& x_TD) const {
  return mean().index_select(0, clusters(x_TD));
}

void ExpertPosterior::update_weights(const at::Tensor& x_TD, const at::Tensor& y_TO, const at::Tensor& y_hat_TEO,
                                     Communicator* ranks) {
  const int64_t experts = counts_2CE_.size(2);
  const at::Tensor errors_TE = (y_hat_TEO - y_TO.unsqueeze(1)).square().sum(2);
  const at::Tensor good_TE = errors_TE < errors_TE.mean(1, true);
  const at::Tensor cells_TE = clusters(x_TD).unsqueeze(1) * experts + at::arange(experts, at::kLong);
  observe(cells_TE.reshape(-1), good_TE.reshape(-1), predict(x_TD).reshape(-1));
  take(ranks);
}

std::vector<RouterBuffer> ExpertPosterior::buffers() const {
  return {{name_ + ".posterior", counts_2CE_}, {name_ + ".calibration", calibration_}};
}

}  // namespace switchyard
