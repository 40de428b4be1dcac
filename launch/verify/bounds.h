// How far a layout's results may lie from the reference's through rounding alone.
#pragma once

#include <cstdint>

#include "layers/models/decoder/config.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

class Bounds {
 public:
  // `tokens`: of a step.
  Bounds(const DecoderConfig& config, int64_t vocabulary, int64_t tokens, Precision precision);

  // Of results relative to the norm of the reference's tensor. forward: logits, losses, what a router sees; backward:
  // gradients of inputs and parameters.
  double forward() const { return forward_; }
  double backward() const { return backward_; }
  // What a gradient's deviation is measured by: its norm, or a part of its share of the norm of all gradients.
  static double scale(double norm, double share_of_all);
  // Of a tensor's AdamW update relative to its norm, given the same gradients and values before; `values_per_update`:
  // the values' norm over the update's.
  double update(double values_per_update) const;
  // Of the norm of all gradients, given the gradients, of which there are so many.
  static double norm(int64_t elements);

 private:
  double kept_;  // round-off of what the optimizer keeps
  double forward_;
  double backward_;
};

}  // namespace switchyard
