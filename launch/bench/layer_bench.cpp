#include "launch/bench/layer_bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include "launch/bench/products_floor.h"
#include "launch/bench/time_split.h"
#include "launch/config/run_config.h"
#include "launch/trace/listener.h"
#include "launch/train/assemble.h"
#include "launch/train/flops.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/memory.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr int64_t kVocabulary = 64;  // of a model around the layer, which is not used
constexpr int64_t kSequence = 512;
constexpr double kPeakSeconds = 0.3;
constexpr char kNodeBytes[] = "dispatch.node_bytes", kRemoteBytes[] = "dispatch.remote_bytes";

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size()) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

at::ScalarType dtype_of(const LayerBenchOptions& options) {
  TrainConfig config;
  config.precision = options.precision;
  return compute_dtype(config.compute_precision());
}

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

// K distinct experts a token, drawn without replacement with probability ~ 1/i^skew (Gumbel's trick).
Choice draw(int64_t tokens, const LayerBenchOptions& options, int rank) {
  at::manual_seed(static_cast<uint64_t>(options.seed + rank));
  const at::Tensor log_E = at::arange(1, options.experts + 1, at::kDouble).log().mul(-options.skew);
  const at::Tensor noise_TE = at::rand({tokens, options.experts}, at::kDouble).log().neg().log().neg();
  const auto [values, experts_TK] = (log_E + noise_TE).topk(options.experts_per_token);
  return {.offsets = at::arange(0, tokens * options.experts_per_token + 1, options.experts_per_token, at::kLong),
          .experts = experts_TK.reshape({-1}).contiguous(),
          .kept = {}};
}

// One layer with its gradients, and the rows that it works on.
class Layer {
 public:
  Layer(const LayerBenchOptions& options, const Mesh& mesh)
      : options_(options),
        mesh_(mesh),
        model_(assemble(model_of(options), kVocabulary, dtype_of(options), false, static_cast<uint64_t>(options.seed),
                        mesh)),
        layer_(*model_->moe_layers().begin()->second) {
    initialise_values(model_->parameters(), static_cast<uint64_t>(options.seed));
    attach_plain_gradients(layer_.parameters());
    const int rank = mesh.world().rank();
    at::manual_seed(static_cast<uint64_t>(options.seed + rank));
    x_tD_ = at::randn({options.tokens, options.width}, dtype_of(options)).set_requires_grad(true);
    g_tD_ = at::randn_like(x_tD_);
    context_ = {.tokens = at::randint(kVocabulary, {options.tokens}, at::kLong),
                .tags = {},
                .sequence = kSequence,
                .first_token = rank * options.tokens,
                .data_rank_tokens = options.tokens,
                .population = mesh.world().size() * options.tokens};
    if (options.skew > 0) skewed_ = draw(options.tokens, options, rank);
  }

  void forward() {
    ++context_.step;
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
  // Of this rank's rows of the latest forward, those for experts that it holds.
  int64_t own_slots() const {
    const int index = mesh_.index(Axis::kExpert);
    const at::Tensor experts = layer_.choice().experts;
    const Placement placement = this->placement();
    const auto* ids = experts.const_data_ptr<int64_t>();
    return std::count_if(ids, ids + experts.numel(), [&](int64_t e) { return placement.owner[e] == index; });
  }
  Placement placement() const { return Placement::contiguous(options_.experts, mesh_.size(Axis::kExpert)); }

 private:
  const LayerBenchOptions& options_;
  const Mesh& mesh_;
  const std::unique_ptr<Decoder> model_;
  MoeLayer& layer_;
  at::Tensor x_tD_, g_tD_;
  TokenContext context_;
  Choice skewed_;
  MoeOutput output_;
};

// Milliseconds from a barrier to the end of the slowest rank; this rank's are added to `own_ms`.
absl::StatusOr<double> slowest(const std::function<void()>& work, Communicator& world, double& own_ms) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  const int64_t start = Recorder::now();
  work();
  const double own = static_cast<double>(Recorder::now() - start) / 1e6;
  own_ms += own;
  return reduce_number(world, own, ReduceOp::kMax);
}

// The same of a part of the layer, with the recorder listening.
absl::StatusOr<double> slowest(const std::function<void()>& work, Recorder& recorder, Communicator& world,
                               double& own_ms) {
  const auto heard = [&] {
    recorder.record_spans(true);
    const Listener listener(recorder);
    work();
    recorder.record_spans(false);
  };
  return slowest(heard, world, own_ms);
}

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

// What the recorder heard during the repeats, which took this rank `own_ms` in all.
absl::Status split_repeats(const LayerBenchOptions& options, const Layer& layer, double own_ms, Recorder& recorder,
                           Communicator& world, LayerBench& result) {
  const double repeats = static_cast<double>(options.repeats);
  const auto mean = [&](double value) { return reduce_number(world, value / repeats / world.size(), ReduceOp::kSum); };
  std::map<std::string, double> split = split_time(recorder.take_spans());
  SY_ASSIGN_OR_RETURN(double rest, mean(own_ms));
  for (const char* part : {"route", "permute", "wire", "experts", "combine"}) {
    SY_ASSIGN_OR_RETURN(result.split_ms[part], mean(split[part]));
    rest -= result.split_ms[part];
  }
  result.split_ms["rest"] = rest;
  std::map<std::string, double> wire = recorder.take_scalars();
  const int64_t row_bytes = options.width * static_cast<int64_t>(c10::elementSize(dtype_of(options)));
  SY_ASSIGN_OR_RETURN(const double own, mean(repeats * static_cast<double>(4 * layer.own_slots() * row_bytes)));
  SY_ASSIGN_OR_RETURN(const double node, mean(wire[kNodeBytes]));
  SY_ASSIGN_OR_RETURN(const double remote, mean(wire[kRemoteBytes]));
  result.own_bytes = std::llround(own);
  result.node_bytes = std::llround(node);
  result.remote_bytes = std::llround(remote);
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

WireObserver record_layer_wires(Recorder& recorder) {
  return [&recorder, record = record_wires(recorder)](const FinishedOperation& done) {
    record(done);
    if (!recorder.records_spans() || !done.label.group.ends_with("/dispatch")) return;
    recorder.scalar(kNodeBytes, static_cast<double>(done.node_bytes), Fold::kSum);
    recorder.scalar(kRemoteBytes, static_cast<double>(done.remote_bytes), Fold::kSum);
  };
}

absl::StatusOr<LayerBench> bench_layer(const LayerBenchOptions& options, Recorder& recorder, Communicator& world) {
  SY_RETURN_IF_ERROR(agree(world, check(options, world)));
  const ParallelConfig parallel{.data = world.size(),
                                .expert = world.size() / options.expert_tensor,
                                .expert_tensor = options.expert_tensor,
                                .dispatcher = options.dispatcher,
                                .dispatch_chunks = options.chunks};
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(parallel, world.size(), 1, 1)));
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh, Mesh::create(world, shape));
  SY_RETURN_IF_ERROR(check_dispatcher(shape.dispatcher, *mesh));
  Layer layer(options, *mesh);
  LayerBench result;
  result.threads = at::get_num_threads();
  layer.forward();
  layer.backward();
  SY_ASSIGN_OR_RETURN(const double memory,
                      reduce_number(world, static_cast<double>(peak_resident_bytes()), ReduceOp::kMax));
  result.memory_bytes = std::llround(memory);

  const at::ScalarType dtype = dtype_of(options);
  const int64_t expert_width = (options.expert_width + options.expert_tensor - 1) / options.expert_tensor;
  const int64_t pre_width = pre_activation_width(activation_from_name(options.activation), expert_width);
  const std::vector<int64_t> rows = floor_rows(options, layer);
  ProductsFloor floor(rows, options.width, pre_width, expert_width, dtype);
  floor.run();
  std::vector<double> forward, backward, whole, products;
  double own_ms = 0, own_floor_ms = 0;
  for (int64_t i = 0; i < options.repeats; ++i) {
    SY_ASSIGN_OR_RETURN(const double one, slowest([&] { layer.forward(); }, recorder, world, own_ms));
    SY_ASSIGN_OR_RETURN(const double two, slowest([&] { layer.backward(); }, recorder, world, own_ms));
    SY_ASSIGN_OR_RETURN(const double alone, slowest([&] { floor.run(); }, world, own_floor_ms));
    forward.push_back(one);
    backward.push_back(two);
    whole.push_back(one + two);
    products.push_back(alone);
  }
  result.forward_ms = median(forward);
  result.backward_ms = median(backward);
  result.ms = median(whole);
  result.floor_ms = median(products);
  double flops = 0;
  for (const int64_t count : rows) flops += expert_flops(count, options.width, pre_width, expert_width);
  result.gflops = flops / 1e9;
  SY_RETURN_IF_ERROR(world.barrier().wait());
  SY_ASSIGN_OR_RETURN(const double peaks_sum,
                      reduce_number(world, measure_peak(at::dtype(dtype), kPeakSeconds), ReduceOp::kSum));
  result.peak_gflops = peaks_sum / world.size() / 1e9;

  const std::vector<int64_t>& slots = layer.slots();
  const auto all = static_cast<double>(std::accumulate(slots.begin(), slots.end(), int64_t{0}));
  result.load_imbalance = static_cast<double>(*std::max_element(slots.begin(), slots.end())) * options.experts / all;
  SY_RETURN_IF_ERROR(split_repeats(options, layer, own_ms, recorder, world, result));
  return result;
}

}  // namespace switchyard
