#include "parallel/optimizer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace switchyard {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps) {
  const ScheduleConfig& schedule = config.schedule;
  if (step < schedule.warmup) return config.lr * static_cast<double>(step) / static_cast<double>(schedule.warmup);
  if (schedule.kind == "constant") return config.lr;
  int64_t begin = schedule.warmup;
  if (schedule.kind == "wsd") {
    const int64_t decay = schedule.decay > 0 ? schedule.decay : std::max<int64_t>(1, total_steps / 10);
    begin = std::max(begin, total_steps - decay);
  }
  if (step <= begin) return config.lr;
  if (step >= total_steps) return schedule.min_lr;
  const double progress = static_cast<double>(step - begin) / static_cast<double>(total_steps - begin);
  const double left = schedule.kind == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : 1 - progress;
  return schedule.min_lr + (config.lr - schedule.min_lr) * left;
}

}  // namespace switchyard
