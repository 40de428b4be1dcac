// The optimizer's section of a run's config.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

namespace switchyard {

struct ScheduleConfig {
  std::string kind = "cosine";
  int64_t warmup = 100;
  double min_lr = 0;
  int64_t decay = 0;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "course of the learning rate after warm-up; wsd: warm-up, stable, decay")
        .one_of({"constant", "cosine", "linear", "wsd"});
    v("warmup", warmup, "steps over which the learning rate rises linearly from 0").at_least(0);
    v("min_lr", min_lr, "learning rate at the last step (cosine, linear, wsd)").at_least(0);
    v("decay", decay, "wsd: length of the final linear decay in steps; auto: a tenth of the run")
        .zero_is("auto")
        .at_least(0);
  }
};

struct OptimizerConfig {
  std::string kind = "adamw";
  double lr = 3e-4;
  std::vector<double> betas = {0.9, 0.95};
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;
  ScheduleConfig schedule;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "update rule").one_of({"adamw"});
    v("lr", lr, "peak learning rate").above(0);
    v("betas", betas, "decay rates of the first and the second moment").at_least(0).below(1);
    v("epsilon", epsilon, "added to the root of the second moment").above(0);
    v("weight_decay", weight_decay, "decoupled weight decay; norms and biases have none").at_least(0);
    v("clip", clip, "largest global gradient norm; off: no clipping").zero_is("off").at_least(0);
    v.section("schedule", schedule, "learning rate over the run");
  }
  // The rules that concern several values. kBadConfig.
  absl::Status validate() const;
};

}  // namespace switchyard
