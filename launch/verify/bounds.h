// How far a layout's results may lie from the reference's through rounding alone.
#pragma once

#include <cstdint>

#include "layers/models/decoder/config.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

class Bounds {
 public:
  struct Sizes {
    int64_t vocabulary = 0, sequence = 0;
    int64_t tokens = 0;  // of a step
  };
  // `both_round`: the reference computes in the run's precision, too, and not in fp64.
  Bounds(const DecoderConfig& config, const Sizes& sizes, Precision precision, bool both_round);

  // Of results relative to the norm of the reference's tensor, or of its row, where so many are compared. forward:
  // logits, what a router sees; backward: gradients of inputs; gradients: of parameters.
  double forward(int64_t compared) const { return forward_ * largest_of(compared); }
  double backward(int64_t compared) const { return backward_ * largest_of(compared); }
  double gradients(int64_t compared) const { return gradients_ * largest_of(compared); }
  // Of the optimizer's moments relative to the terms that they are the sum of, given the gradients, which have so many
  // elements.
  double first_moment(int64_t elements) const;
  double second_moment(int64_t elements) const;
  // Of a tensor's AdamW update relative to its norm, given the same gradients, moments and values before;
  // `values_per_update`: the values' norm over the update's.
  double update(double values_per_update) const;
  // Of the norm of all gradients, given the gradients, of which there are so many.
  static double norm(int64_t elements);

 private:
  static double largest_of(int64_t compared);

  double sides_;  // 1, or √2 where both round
  double kept_;   // round-off of what the optimizer keeps
  double forward_, backward_, gradients_;
};

}  // namespace switchyard
