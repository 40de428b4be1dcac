// What one update of AdamW has in common for all elements.
#pragma once

namespace switchyard {

struct AdamWFactors {
  double gradient_scale;  // applied to the gradient first
  double decay;           // 1 − lr · weight decay
  double beta1, beta2;
  double step_size;              // lr / (1 − beta1^t)
  double root_bias_correction2;  // √(1 − beta2^t)
  double epsilon;
};

}  // namespace switchyard
