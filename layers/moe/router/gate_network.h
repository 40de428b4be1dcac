// What turns a token into one logit an expert: a linear map, or a small neural network.
#pragma once

#include <memory>
#include <string>

#include "layers/build_context.h"
#include "layers/moe/router/config.h"
#include "layers/moe/token_context.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// A tensor of the router's own, replicated over the routing population, on which each rank sees its own tokens only.
std::unique_ptr<Parameter> make_router_parameter(const std::string& name, std::vector<int64_t> shape,
                                                 Initialisation initialisation, double scale,
                                                 const BuildContext& context);

// Each [T,E] in fp32 (fp64), carrying autograd.
struct Logits {
  at::Tensor of_gate;
  at::Tensor beside;  // undefined where no second gate was asked for
};

class GateNetwork {
 public:
  // linear: `<name>` [E,D]. mlp: `<name>.up` [H,D] and `<name>.down` [E,H], GELU between, H = config.width.
  // D: width. `jitter`: in training the input's elements are multiplied by numbers drawn from [1 − jitter, 1 + jitter]
  // (Fedus et al., "Switch Transformers", 2021).
  GateNetwork(const std::string& name, int64_t width, int64_t experts, const GateConfig& config, double jitter,
              const BuildContext& context);

  // Of x_TD [T,D]; `beside`: another weight [E,D], a linear gate on the tokens themselves, null: none. Local.
  Logits logits(const at::Tensor& x_TD, const TokenContext& context, Parameter* beside);
  ParameterList parameters();

 private:
  const std::string name_;
  const double jitter_;
  const uint64_t seed_;
  std::unique_ptr<Parameter> up_;    // null: linear
  std::unique_ptr<Parameter> down_;  // [E, D or H]
};

}  // namespace switchyard
