// What routing and balance cost of an MoE layer's time, forward and backward on one rank in bf16, for each mixture of
// configs/routers, and for one with each other kind of balance and gate, in a coarse and a fine shape:
// benchmark_routers [coarse|fine [NAME]]. The router's time is split into
// the gate's products, both ways, and what else it does: scores, choice, weights and losses. All take turns on one
// thread, and medians of its CPU time are shown; compare within one table only.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <torch/csrc/autograd/autograd.h>

#include "launch/config/binder.h"
#include "launch/config/run_config.h"
#include "layers/moe/moe_layer.h"
#include "layers/moe/router/gate.h"
#include "layers/moe/router/make_router.h"
#include "parallel/dispatch/local.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"
#include "runtime/device/memory.h"
#include "tests/benchmark/timing.h"

namespace switchyard {
namespace {

constexpr int kRepeats = 5;
constexpr int64_t kTokens = 4096, kWidth = 512, kSequence = 512, kTags = 4;

struct Shape {
  const char* name;
  int64_t experts, experts_per_token, expert_width;
};
constexpr Shape kShapes[] = {{"coarse", 8, 2, 2048}, {"fine", 64, 8, 256}};

struct Mixture {
  std::string name, config;          // configs/routers/`config`.yaml
  std::vector<std::string> changes;  // of the keys of model.moe.router
};

// In another shape.
MoeConfig read_mixture(const Mixture& mixture, const Shape& shape) {
  const int64_t experts_per_token = mixture.name == "dense" ? shape.experts : shape.experts_per_token;
  std::vector<std::string> overrides{absl::StrCat("model.moe.experts=", shape.experts),
                                     absl::StrCat("model.moe.experts_per_token=", experts_per_token),
                                     absl::StrCat("model.moe.expert_width=", shape.expert_width),
                                     "model.moe.activation=relu"};
  for (const std::string& change : mixture.changes) overrides.push_back("model.moe.router." + change);
  return value_or_throw(read_config<RunConfig>(
                            absl::StrCat(SWITCHYARD_SOURCE "/configs/routers/", mixture.config, ".yaml"), overrides))
      .model.moe;
}

std::vector<Mixture> mixtures() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(SWITCHYARD_SOURCE "/configs/routers")) {
    if (file.path().stem() != "none") names.push_back(file.path().stem());
  }
  std::sort(names.begin(), names.end());
  std::vector<Mixture> all;
  for (const std::string& name : names) all.push_back({name, name, {}});
  const std::vector<Mixture> changed{
      {"softmax_jitter", "softmax", {"balance.jitter=0.01"}},
      {"softmax_bias", "softmax", {"balance.bias_rate=0.001"}},
      {"softmax_mlp", "softmax", {"gate.kind=mlp", "gate.width=64"}},
      {"balance_sequence", "softmax", {"balance.over=sequence"}},
      {"balance_running", "softmax", {"balance.over=running"}},
      {"balance_losses", "softmax", {"balance.importance_loss=0.01", "balance.entropy_loss=0.01"}},
      {"capacity_position", "capacity", {"capacity.drop=position"}},
      {"capacity_random", "capacity", {"capacity.drop=random"}},
      {"capacity_pad", "capacity", {"capacity.pad=true"}}};
  all.insert(all.end(), changed.begin(), changed.end());
  return all;
}

// The gate's products with x alone, of as many as the router has.
void run_gates(MoeLayer& layer, const at::Tensor& x) {
  ParameterList weights = layer.router().parameters();
  std::erase_if(weights, [&](Parameter* weight) { return weight->value().size(1) != x.size(1); });
  if (weights.empty()) return;
  const std::vector<at::Tensor> logits = gates(x, weights);
  torch::autograd::backward(logits, {logits.size(), at::ones_like(logits[0])});
}

struct Times {
  std::vector<double> layer, gates, forward, backward;
};

void print(const std::string& shape, const std::string& kind, const Times& times) {
  const double gates = median(times.gates), forward = median(times.forward), backward = median(times.backward);
  const double router = forward + backward, layer = median(times.layer);
  std::fputs(absl::StrFormat("%-7s %-24s router %6.2f ms of %7.2f ms: %5.1f %%   gate %5.2f  choice and losses %6.2f  "
                             "(forward %5.2f  backward %5.2f)\n",
                             shape, kind, router, layer, 100 * router / layer, gates, router - gates, forward, backward)
                 .c_str(),
             stdout);
  std::fflush(stdout);
}

void measure(const std::string& shape, const std::string& name, const MoeConfig& config, const Mesh& mesh) {
  const BuildContext context{.mesh = mesh, .dtype = at::kBFloat16, .init_scale = 0.02, .residual_init_scale = 0.02};
  const at::Tensor x = at::randn({kTokens, kWidth}, at::kBFloat16).set_requires_grad(true);
  const at::Tensor g = at::randn({kTokens, kWidth}, at::kBFloat16);
  const at::Tensor tokens = at::randint(8192, {kTokens}, at::kLong), tags = at::randint(kTags, {kTokens}, at::kLong);
  TokenContext token_context{
      .tokens = tokens, .tags = tags, .sequence = kSequence, .data_rank_tokens = kTokens, .population = kTokens};
  MoeLayer layer(make_router("moe", kWidth, config, context), std::make_unique<LocalDispatcher>(config.experts),
                 std::make_unique<Experts>("moe", kWidth, config.expert_width, Activation::kRelu,
                                           Placement::contiguous(config.experts, 1), context),
                 nullptr, nullptr, mesh);
  initialise_values(layer.parameters(), 1);
  attach_plain_gradients(layer.parameters());
  const auto run_layer = [&] {
    const MoeOutput output = layer.forward(x, token_context);
    ((output.y_tD * g).sum() + output.auxiliary_loss.to(at::kBFloat16)).backward();
  };
  at::Tensor total;
  const auto route = [&] {
    const RouterOutput output = layer.router().route(x, token_context);
    total = output.routing.weights.sum() + output.auxiliary_loss;
  };
  const auto route_back = [&] {
    if (total.requires_grad()) total.backward();
  };
  Times times;
  run_layer();
  for (int i = 0; i < kRepeats; ++i) {
    ++token_context.step;
    times.layer.push_back(cpu_milliseconds(run_layer));
    times.forward.push_back(cpu_milliseconds(route));
    times.backward.push_back(cpu_milliseconds(route_back));
    times.gates.push_back(cpu_milliseconds([&] { run_gates(layer, x); }));
  }
  print(shape, name, times);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  using namespace switchyard;  // NOLINT: a short main
  keep_freed_memory();         // as in training
  at::set_num_threads(1);      // backward then runs on this thread
  const std::string wanted_shape = argc > 1 ? argv[1] : "", wanted_name = argc > 2 ? argv[2] : "";
  Loopback loopback(1);
  const auto mesh = value_or_throw(Mesh::create(loopback.rank(0), MeshShape{}));
  for (const Shape& shape : kShapes) {
    if (!wanted_shape.empty() && shape.name != wanted_shape) continue;
    for (const Mixture& mixture : mixtures()) {
      if (!wanted_name.empty() && mixture.name != wanted_name) continue;
      measure(shape.name, mixture.name, read_mixture(mixture, shape), *mesh);
    }
  }
}
