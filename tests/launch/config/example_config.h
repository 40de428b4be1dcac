// A config with every kind of field and rule, for the tests of reading and writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace switchyard {

struct ExampleSchedule {
  std::string kind = "cosine";
  double min_lr = 3e-5;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "shape of the decay").one_of({"cosine", "linear"});
    v("min_lr", min_lr, "where the decay ends").at_least(0);
  }
};

struct ExampleOptimizer {
  double lr = 3e-4;
  std::vector<double> betas = {0.9, 0.95};
  double epsilon = 1e-8;
  ExampleSchedule schedule;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("lr", lr, "peak learning rate").above(0);
    v("betas", betas, "decay of the moments").at_least(0).below(1);
    v.section("schedule", schedule, "learning rate over time");
    v("epsilon", epsilon, "added to the denominator").above(0);
  }
  absl::Status validate() const {
    if (betas.size() == 2) return absl::OkStatus();
    return error(ErrorCategory::kBadConfig, "betas takes two numbers");
  }
};

struct ExampleTrain {
  int64_t steps = 1000;
  int parts = 1;
  bool shuffle = true;
  std::string dir = "runs/a";
  std::vector<std::string> tags;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("steps", steps, "training steps").at_least(1);
    v("parts", parts, "parts of a step").zero_is("auto").at_least(1).at_most(64);
    v("shuffle", shuffle, "shuffle a|b");
    v("dir", dir, "where to write");
    v("tags", tags, "labels");
  }
};

struct ExampleConfig {
  ExampleTrain train;
  ExampleOptimizer optimizer;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.section("train", train, "the run");
    v.section("optimizer", optimizer, "the update");
  }
};

}  // namespace switchyard
