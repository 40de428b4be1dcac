#include "launch/bench/layer_bench.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include "launch/bench/own_rows.h"
#include "launch/bench/products_floor.h"
#include "launch/bench/time_split.h"
#include "launch/trace/mixture_spans.h"
#include "launch/train/assemble.h"
#include "launch/train/create_mesh.h"
#include "parallel/dispatch/expert_draw.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/numerics/median.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr int64_t kVocabulary = 64;  // of a model around the layer, which is not used
constexpr int64_t kSequence = 512;

DecoderConfig model_of(const LayerBenchOptions& options) {
  DecoderConfig config;
  config.width = options.width;
  config.layers = 1;
  config.attention = {.heads = 1, .kv_heads = 1, .head_width = 2};
  config.moe.experts = options.experts;
  config.moe.experts_per_token = options.experts_per_token;
  config.moe.expert_width = options.expert_width;
  config.moe.activation = options.activation;
  config.moe.router.kind = options.router;
  const std::set<std::string> balanced = {"expert_choice", "sinkhorn", "hash", "dense"};  // without losses for it
  if (balanced.contains(options.router)) config.moe.router.aux_loss = config.moe.router.z_loss = 0;
  return config;
}

// A run in which a rank has as many tokens at once, by which chunks are chosen.
RunConfig config_of(const LayerBenchOptions& options, int ranks) {
  RunConfig config;
  config.model = model_of(options);
  config.data.sequence = options.tokens;
  config.train.global_batch = ranks;
  config.train.precision = options.precision;
  config.parallel = {.data = ranks,
                     .expert = ranks / options.expert_tensor,
                     .expert_tensor = options.expert_tensor,
                     .dispatcher = options.dispatcher,
                     .dispatch_chunks = options.chunks,
                     .shared_memory = options.shared_memory};
  return config;
}

// One layer with its gradients, and the rows that it works on.
class Layer {
 public:
  Layer(const LayerBenchOptions& options, const at::TensorOptions& tokens, const Mesh& mesh, Recorder& recorder)
      : options_(options),
        mesh_(mesh),
        model_(assemble(model_of(options), kVocabulary, tokens, Recompute::kNone, static_cast<uint64_t>(options.seed),
                        mesh, record_own_rows(recorder, options.experts, mesh))),
        layer_(*model_->moe_layers().begin()->second) {
    initialise_values(model_->parameters(), static_cast<uint64_t>(options.seed));
    attach_plain_gradients(layer_.parameters());
    const int rank = mesh.world().rank();
    const at::Generator random = at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed + rank));
    const auto on_device = [&](const at::Tensor& tensor) { return tensor.to(tokens.device()); };
    const at::ScalarType dtype = c10::typeMetaToScalarType(tokens.dtype());
    x_tD_ = on_device(at::randn({options.tokens, options.width}, random, dtype)).set_requires_grad(true);
    g_tD_ = on_device(at::randn({options.tokens, options.width}, random, dtype));
    context_ = {.tokens = on_device(at::randint(kVocabulary, {options.tokens}, random, at::kLong)),
                .tags = {},
                .sequence = kSequence,
                .first_token = rank * options.tokens,
                .data_rank_tokens = options.tokens,
                .population = mesh.world().size() * options.tokens};
    if (options.skew > 0) skewed_ = draw();
  }

  void forward() {
    ++context_.step;
    for (Parameter* parameter : layer_.parameters()) parameter->clear_gradient();  // as a step's first part meets it
    if (skewed_.offsets.defined()) layer_.router().replay(skewed_);
    output_ = layer_.forward(x_tD_, context_);
  }
  void backward() {
    std::vector<at::Tensor> outputs{output_.y_tD}, gradients{g_tD_};
    if (output_.auxiliary_loss.defined() && output_.auxiliary_loss.requires_grad()) {
      outputs.push_back(output_.auxiliary_loss);
      gradients.push_back(at::ones_like(output_.auxiliary_loss));
    }
    torch::autograd::backward(outputs, gradients);
    output_ = {};
    x_tD_.mutable_grad().reset();
  }

  // Of all ranks, by expert.
  const std::vector<int64_t>& slots() const { return layer_.statistics().tokens_per_expert; }
  Placement placement() const { return Placement::contiguous(options_.experts, mesh_.size(Axis::kExpert)); }

 private:
  Choice draw() const {
    const int64_t tokens = options_.tokens, k = options_.experts_per_token;
    const Routing routing = routing_to(draw_experts(tokens, options_.experts, k, options_.skew,
                                                    static_cast<uint64_t>(options_.seed + mesh_.world().rank())),
                                       x_tD_.options());
    return {.offsets = routing.offsets, .experts = routing.experts, .kept = {}};
  }

  const LayerBenchOptions& options_;
  const Mesh& mesh_;
  const std::unique_ptr<Decoder> model_;
  MoeLayer& layer_;
  at::Tensor x_tD_, g_tD_;
  TokenContext context_;
  Choice skewed_;
  MoeOutput output_;
};

// Rows of each expert of the rank that has most: of as many slots as were routed, spread evenly over all experts or,
// with skew, as they were.
std::vector<int64_t> floor_rows(const LayerBenchOptions& options, const Layer& layer) {
  const std::vector<int64_t>& slots = layer.slots();
  const int64_t all = std::accumulate(slots.begin(), slots.end(), int64_t{0});
  std::vector<int64_t> most;
  int64_t most_rows = -1;
  for (const std::vector<int64_t>& experts : layer.placement().experts_of) {
    std::vector<int64_t> rows;
    for (const int64_t e : experts) {
      const auto [begin, end] = cut(all, static_cast<int>(options.experts), static_cast<int>(e));
      rows.push_back(options.skew > 0 ? slots[e] : end - begin);
    }
    const int64_t sum = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    if (sum <= most_rows) continue;
    most_rows = sum;
    most = std::move(rows);
  }
  return most;
}

// The busiest rank's products.
std::vector<WeightProduct> floor_products(const LayerBenchOptions& options, const Layer& layer) {
  const int64_t expert_width = (options.expert_width + options.expert_tensor - 1) / options.expert_tensor;
  const int64_t pre_width = pre_activation_width(activation_from_name(options.activation), expert_width);
  std::vector<WeightProduct> products;
  for (const int64_t rows : floor_rows(options, layer)) {
    products.push_back({.rows = rows, .out = pre_width, .in = options.width});
    products.push_back({.rows = rows, .out = options.width, .in = expert_width});
  }
  return products;
}

// By span; other backward functions are the router's, which has many kinds.
std::string part_of(std::span<const std::string_view> names) {
  const std::string_view part = mixture_part(names.back());
  if (part == "experts") return is_activation(names.back()) ? "activation" : "products";
  if (!part.empty()) return std::string(part);
  return names.back().ends_with(" backward") ? "route" : "";
}

// What the recorder heard during the repeats, which took this rank `own_ms` in all.
absl::Status split_repeats(const LayerBenchOptions& options, double own_ms, Recorder& recorder, Communicator& world,
                           LayerBench& result) {
  SY_ASSIGN_OR_RETURN(result.split_ms, mean_split(split_time(recorder.take_spans(), part_of), layer_parts(), own_ms,
                                                  options.repeats, world));
  SY_ASSIGN_OR_RETURN(result.bytes, take_tier_bytes(recorder, options.repeats, world));
  return absl::OkStatus();
}

absl::Status check(const LayerBenchOptions& options, Communicator& world) {
  SY_RETURN_IF_ERROR(model_of(options).moe.validate());
  if (world.size() % options.expert_tensor != 0) {
    return error(ErrorCategory::kBadConfig, "--expert-tensor must divide the number of ranks");
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& layer_parts() {
  static const std::vector<std::string> parts = {"route",      "permute", "wire", "products",
                                                 "activation", "combine", "rest"};
  return parts;
}

absl::StatusOr<LayerBench> bench_layer(const LayerBenchOptions& options, Recorder& recorder, const BenchSite& site,
                                       const BenchProgress& progress) {
  Communicator& world = site.world;
  SY_RETURN_IF_ERROR(agree(world, check(options, world)));
  const RunConfig config = config_of(options, world.size());
  const at::ScalarType dtype = compute_dtype(config.train.compute_precision());
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  LayerBench result;
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, site.device, site.wires, /*tell=*/{}, &result.by_messages));
  result.dispatcher = dispatcher_name(mesh->shape().dispatcher);
  result.chunks = mesh->shape().dispatch_chunks;
  const at::TensorOptions tokens = at::dtype(dtype).device(site.device);
  Layer layer(options, tokens, *mesh, recorder);
  layer.forward();
  layer.backward();
  SY_ASSIGN_OR_RETURN(result.memory_bytes, most_memory(site));

  const std::vector<WeightProduct> products = floor_products(options, layer);
  result.gflops = flops_of(products) / 1e9;
  ProductsFloor floor(products, tokens);
  floor.run();
  std::vector<double> forward, backward, whole, alone;
  double own_ms = 0, own_floor_ms = 0;
  for (int64_t i = 0; i < options.repeats; ++i) {
    if (progress) progress(i, options.repeats);
    SY_ASSIGN_OR_RETURN(const double one, slowest_ms([&] { layer.forward(); }, recorder, site, own_ms));
    SY_ASSIGN_OR_RETURN(const double two, slowest_ms([&] { layer.backward(); }, recorder, site, own_ms));
    SY_ASSIGN_OR_RETURN(const double three, slowest_ms([&] { floor.run(); }, site, own_floor_ms));
    forward.push_back(one);
    backward.push_back(two);
    whole.push_back(one + two);
    alone.push_back(three);
  }
  if (progress) progress(options.repeats, options.repeats);
  result.forward_ms = median(forward);
  result.backward_ms = median(backward);
  result.ms = median(whole);
  result.floor_ms = median(alone);
  SY_ASSIGN_OR_RETURN(result.peak_gflops, peak_gflops(dtype, site));

  const std::vector<int64_t>& slots = layer.slots();
  const auto all = static_cast<double>(std::accumulate(slots.begin(), slots.end(), int64_t{0}));
  result.load_imbalance = static_cast<double>(*std::max_element(slots.begin(), slots.end())) * options.experts / all;
  SY_RETURN_IF_ERROR(split_repeats(options, own_ms, recorder, world, result));
  return result;
}

}  // namespace switchyard
