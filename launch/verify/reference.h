// What a layout is compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/verify/flips.h"
#include "launch/verify/step_record.h"
#include "parallel/checkpoint/tensor_part.h"

namespace switchyard {

struct ReferenceStep {
  StepRecord record;
  std::vector<TensorPart> gradients;  // of all parameters
  Flips flips;                        // of what the reference would have chosen; of no tokens: it did not choose
};

// Every call is collective over the ranks of the layout, and every rank gets its share of parts; together they are each
// tensor once. Parts of parameters and gradients are views, written through by who adopts the layout's.
class Reference {
 public:
  virtual ~Reference() = default;
  // "one rank, …": what it is, for people.
  virtual std::string describe() const = 0;
  // Whether it computes in the run's precision; else in fp64.
  virtual bool rounds() const = 0;
  // Forward and backward of step `step` with the layout's choices of experts.
  virtual absl::StatusOr<ReferenceStep> run(int64_t step, const Choices& choices) = 0;
  // What to write the layout's gradients into, before update().
  virtual std::vector<TensorPart> gradients() = 0;
  // The optimizer's update of step `step` from those gradients. Returns their norm, on all ranks.
  virtual absl::StatusOr<double> update(int64_t step) = 0;
  // Masters of the parameters; after they were written, adopted() makes the model follow.
  virtual std::vector<TensorPart> parameters() = 0;
  virtual absl::Status adopted() = 0;
  // The optimizer's moments, named as moment_parts() has them. Written like parameters.
  virtual std::vector<TensorPart> moments() = 0;
  // What routers keep beside parameters, after update(); whole, on every rank that has them. Written like parameters.
  virtual std::vector<TensorPart> router_state() = 0;
};

}  // namespace switchyard
