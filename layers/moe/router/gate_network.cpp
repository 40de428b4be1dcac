#include "layers/moe/router/gate_network.h"

#include <ATen/ATen.h>

#include "layers/moe/router/gate.h"
#include "layers/moe/router/token_random.h"
#include "layers/ops/activation.h"
#include "layers/ops/linear.h"

namespace switchyard {

std::unique_ptr<Parameter> make_router_parameter(const std::string& name, std::vector<int64_t> shape,
                                                 Initialisation initialisation, double scale,
                                                 const BuildContext& context) {
  const AxisSet ranks{Axis::kData, Axis::kTensor};
  Slice slice{.spec = {name, shape, Box::whole(shape), ranks, ranks}, .initialisation = initialisation, .scale = scale};
  return std::make_unique<Parameter>(std::move(shape), context.options(), std::vector<Slice>{slice});
}

GateNetwork::GateNetwork(const std::string& name, int64_t width, int64_t experts, const GateConfig& config,
                         double jitter, const BuildContext& context)
    : name_(name), jitter_(jitter), seed_(context.seed) {
  const auto make = [&](const std::string& of, int64_t rows, int64_t columns) {
    return make_router_parameter(of, {rows, columns}, Initialisation::kNormal, context.init_scale, context);
  };
  if (config.kind == "mlp") {
    up_ = make(name + ".up", config.width, width);
    down_ = make(name + ".down", experts, config.width);
  } else {
    down_ = make(name, experts, width);
  }
}

Logits GateNetwork::logits(const at::Tensor& x_TD, const TokenContext& context, Parameter* beside) {
  at::Tensor x = x_TD;
  if (jitter_ > 0 && context.training) {
    const TokenRandom random(seed_, name_ + ".jitter", context);
    x = x * random.uniforms(x.size(0), x.size(1), 1 - jitter_, 1 + jitter_, x.scalar_type()).to(x.device());
  }
  if (up_) x = activate(Activation::kGelu, linear(x, *up_));
  if (!beside) return {gate(x, *down_), {}};
  if (!x.is_same(x_TD)) return {gate(x, *down_), gate(x_TD, *beside)};
  const std::vector<at::Tensor> both = gates(x_TD, {down_.get(), beside});
  return {both[0], both[1]};
}

ParameterList GateNetwork::parameters() {
  if (!up_) return {down_.get()};
  return {up_.get(), down_.get()};
}

}  // namespace switchyard
