// The dense feed-forward layer, its width cut over the tensor axis: gather rows → up (and gate) → activation → down →
// reduce-scatter rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "layers/build_context.h"
#include "layers/ops/activation.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

class FeedForward {
 public:
  // Logical tensors `<name>.gate` (SwiGLU only), `<name>.up` [F,D] and `<name>.down` [D,F].
  FeedForward(const std::string& name, int64_t width, int64_t hidden, Activation activation,
              const BuildContext& context);

  // x_tD: this tensor rank's share (cut) of the data rank's T = `rows` tokens. → [t,D]. Collective over tensor.
  at::Tensor forward(const at::Tensor& x_tD, int64_t rows);
  ParameterList parameters() { return {up_.get(), down_.get()}; }

 private:
  const Mesh& mesh_;
  Activation activation_;
  bool recompute_;
  std::unique_ptr<Parameter> up_;    // gate and up fused for SwiGLU: [2·F_local, D], else [F_local, D]
  std::unique_ptr<Parameter> down_;  // [D, F_local]
};

}  // namespace switchyard
