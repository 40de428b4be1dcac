// What routing and balance cost of an MoE layer's time, forward and backward on one rank, for each kind of router on
// the coarse and the fine bf16 shape: benchmark_routers [THREADS [coarse|fine]]. Layer and router alone are interleaved
// and medians shown; compare within one table only.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "layers/moe/moe_layer.h"
#include "layers/moe/router/make_router.h"
#include "parallel/dispatch/local.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"

namespace switchyard {
namespace {

constexpr int kRepeats = 5;
constexpr int64_t kTokens = 4096, kWidth = 512, kSequence = 512;

double milliseconds(const std::function<void()>& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::ToDoubleMilliseconds(absl::Now() - start);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct Kind {
  std::string name;
  std::function<void(MoeConfig&)> change;
};

std::vector<Kind> kinds() {
  const auto plain = [](const char* kind) { return Kind{kind, [kind](MoeConfig& c) { c.router.kind = kind; }}; };
  const auto balanced = [](const char* kind) {
    return Kind{kind, [kind](MoeConfig& c) { c.router.kind = kind, c.router.aux_loss = 0, c.router.z_loss = 0; }};
  };
  return {plain("softmax"),
          {"softmax, capacity 1.25", [](MoeConfig& c) { c.router.capacity.factor = 1.25; }},
          {"softmax, over sequences", [](MoeConfig& c) { c.router.balance.over = "sequence"; }},
          {"sigmoid, bias",
           [](MoeConfig& c) {
             c.router.kind = "sigmoid", c.router.aux_loss = 0, c.router.z_loss = 0, c.router.balance.bias_rate = 1e-3;
           }},
          plain("noisy_top_k"),
          plain("top_p"),
          balanced("expert_choice"),
          balanced("sinkhorn"),
          balanced("hash"),
          plain("bayesian")};
}

void measure(const std::string& shape, const MoeConfig& base, const Mesh& mesh) {
  const BuildContext context{.mesh = mesh, .dtype = at::kBFloat16, .init_scale = 0.02, .residual_init_scale = 0.02};
  const at::Tensor x = at::randn({kTokens, kWidth}, at::kBFloat16).set_requires_grad(true);
  const at::Tensor g = at::randn({kTokens, kWidth}, at::kBFloat16);
  const at::Tensor tokens = at::randint(8192, {kTokens}, at::kLong);
  TokenContext token_context{
      .tokens = tokens, .tags = {}, .sequence = kSequence, .data_rank_tokens = kTokens, .population = kTokens};
  for (const Kind& kind : kinds()) {
    MoeConfig config = base;
    kind.change(config);
    throw_if_error(config.validate());
    MoeLayer layer(make_router("moe", kWidth, config, context), std::make_unique<LocalDispatcher>(config.experts),
                   std::make_unique<Experts>("moe", kWidth, config.expert_width, Activation::kRelu,
                                             Placement::contiguous(config.experts, 1), context),
                   nullptr);
    initialise_values(layer.parameters(), 1);
    attach_plain_gradients(layer.parameters());
    const auto run_layer = [&] {
      const MoeOutput output = layer.forward(x, token_context);
      ((output.y_tD * g).sum() + output.auxiliary_loss.to(at::kBFloat16)).backward();
    };
    const auto run_router = [&] {
      const RouterOutput output = layer.router().route(x, token_context);
      const at::Tensor total = output.routing.weights.sum() + output.auxiliary_loss;
      if (total.requires_grad()) total.backward();
    };
    std::vector<double> whole, routing;
    run_layer();
    for (int i = 0; i < kRepeats; ++i) {
      ++token_context.step;
      whole.push_back(milliseconds(run_layer));
      routing.push_back(milliseconds(run_router));
    }
    const double a = median(routing), b = median(whole);
    std::fputs(absl::StrFormat("%s  %-24s router %7.2f ms of %8.2f ms: %5.1f %%\n", shape, kind.name, a, b, 100 * a / b)
                   .c_str(),
               stdout);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  using namespace switchyard;  // NOLINT: a short main
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  Loopback loopback(1);
  const auto mesh = value_or_throw(Mesh::create(loopback.rank(0), MeshShape{}));
  const std::string shape = argc > 2 ? argv[2] : "";
  if (shape != "fine") {
    measure("coarse", {.experts = 8, .experts_per_token = 2, .expert_width = 2048, .activation = "relu", .router = {}},
            *mesh);
  }
  if (shape != "coarse") {
    measure("fine  ", {.experts = 64, .experts_per_token = 8, .expert_width = 256, .activation = "relu", .router = {}},
            *mesh);
  }
}
