#include "parallel/dispatch/alpha_beta.h"

#include <cmath>

#include "runtime/base/check.h"

namespace switchyard {

std::optional<AlphaBeta> fit_alpha_beta(std::span<const TimedTransfer> transfers) {
  double weights = 0, bytes_sum = 0, time_sum = 0;  // a deviation relative to t is one with the weight 1/t²
  for (const auto& [bytes, time] : transfers) {
    SY_CHECK(time > 0);
    const double weight = 1 / (time * time);
    weights += weight;
    bytes_sum += weight * bytes;
    time_sum += weight * time;
  }
  const double mean_bytes = bytes_sum / weights, mean_time = time_sum / weights;
  double covariance = 0, variance = 0, products = 0, squares = 0;
  bool differ = false;
  for (const auto& [bytes, time] : transfers) {
    const double weight = 1 / (time * time), ahead = bytes - mean_bytes;
    covariance += weight * ahead * (time - mean_time);
    variance += weight * ahead * ahead;
    products += weight * bytes * time;
    squares += weight * bytes * bytes;
    differ = differ || bytes != transfers.front().bytes;
  }
  if (!differ) return std::nullopt;

  AlphaBeta fit{.beta = covariance / variance};
  fit.alpha = mean_time - fit.beta * mean_bytes;
  if (fit.beta < 0) fit = {.alpha = mean_time};
  if (fit.alpha < 0) fit = {.beta = products / squares};
  double deviations = 0;
  for (const auto& [bytes, time] : transfers) deviations += std::pow(fit.time(bytes) / time - 1, 2);
  fit.residual = std::sqrt(deviations / static_cast<double>(transfers.size()));
  return fit;
}

}  // namespace switchyard
