#include "launch/data/unigram.h"

#include <cmath>
#include <numeric>

#include "runtime/base/check.h"

namespace switchyard {

double unigram_loss(std::span<const int64_t> training_counts, std::span<const int64_t> held_out_counts) {
  SY_CHECK_EQ(training_counts.size(), held_out_counts.size());
  const auto sum = [](std::span<const int64_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  };
  const double held_out = sum(held_out_counts);
  SY_CHECK(held_out > 0);
  const double denominator = sum(training_counts) + static_cast<double>(training_counts.size());
  double nats = 0;
  for (size_t v = 0; v < training_counts.size(); ++v) {
    const double probability = static_cast<double>(training_counts[v] + 1) / denominator;
    nats -= static_cast<double>(held_out_counts[v]) * std::log(probability);
  }
  return nats / held_out;
}

}  // namespace switchyard
