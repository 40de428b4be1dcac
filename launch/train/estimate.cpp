#include "launch/train/estimate.h"

#include <algorithm>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "layers/ops/activation.h"
#include "layers/ops/cross_entropy.h"

namespace switchyard {
namespace {

// Matrices before an activation.
int64_t up_matrices(const std::string& activation) {
  return pre_activation_width(activation_from_name(activation), 1);
}

// Elements that one block keeps for backward for each of its tokens: residual inputs, norms, q/k/v and the attention's
// output, and what the feed-forward layer saves, with its activations or without.
double saved_per_token(const DecoderConfig& config, int64_t layer, int64_t tensor, bool activations) {
  const double width = static_cast<double>(config.width);
  const AttentionConfig& attention = config.attention;
  const double heads =
      static_cast<double>(2 * attention.heads + 2 * attention.kv_heads) * attention.head_width / tensor;
  double saved = 4 * width + heads;
  if (!activations) return saved + (config.is_moe_layer(layer) ? config.moe.experts_per_token * 2 * width : 0);
  if (config.is_moe_layer(layer)) {
    const MoeConfig& moe = config.moe;
    saved += static_cast<double>(moe.experts_per_token) * (2 * width + up_matrices(moe.activation) * moe.expert_width);
    saved += static_cast<double>(moe.shared_experts) * (up_matrices(moe.activation) + 1) * moe.expert_width / tensor;
  } else {
    saved +=
        static_cast<double>((up_matrices(config.feed_forward.activation) + 1) * config.feed_forward.width) / tensor;
  }
  return saved;
}

// What a mixture in chunks keeps of each token besides until the last chunk's backward is done, and all weights'
// gradients are made together: experts' outputs' gradients, activations and their gradients.
double chunked_per_token(const MoeConfig& moe, int64_t width) {
  return static_cast<double>(moe.experts_per_token * (width + (up_matrices(moe.activation) + 1) * moe.expert_width));
}

int64_t activation_bytes(const Job& job) {
  const RunConfig& config = job.config;
  const int64_t tensor = job.mesh.size(Axis::kTensor);
  const int64_t data_ranks = job.mesh.size(Axis::kData);
  const int64_t sequences = (config.train.global_batch / config.train.accumulation + data_ranks - 1) / data_ranks;
  const double tokens = static_cast<double>(sequences * config.data.sequence);
  const double logits = config.train.recompute == "none" ? tokens : std::min<double>(tokens, kLossBlockRows);
  double elements = logits * job.vocabulary / tensor;
  for (int64_t layer = 0; layer < config.model.layers; ++layer) {
    const bool kept = config.train.recompute != "layer" || layer + 1 == config.model.layers;
    const double per_token = kept ? saved_per_token(config.model, layer, tensor, config.train.recompute != "activation")
                                  : static_cast<double>(config.model.width);
    elements += tokens / tensor * per_token;
  }
  const bool chunked =
      job.mesh.shape().dispatch_chunks > 1 && config.model.moe_layer_count() > 0 && job.device.is_cpu();
  if (chunked) elements += tokens / tensor * chunked_per_token(config.model.moe, config.model.width);
  return static_cast<int64_t>(elements * c10::elementSize(compute_dtype(config.train.compute_precision())));
}

std::string gib(int64_t bytes) {
  return absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (1 << 30));
}
std::string millions(int64_t n) {
  return absl::StrFormat("%.1f M", static_cast<double>(n) * 1e-6);
}

}  // namespace

MemoryEstimate estimate_memory(const Job& job) {
  MemoryEstimate estimate;
  const MoeConfig& moe = job.config.model.moe;
  for (const Parameter* parameter : job.model->parameters()) {
    estimate.rank_parameters += parameter->value().numel();
    estimate.values += static_cast<int64_t>(parameter->value().nbytes());
    estimate.gradients += static_cast<int64_t>(parameter->gradient().nbytes());
  }
  const CheckpointConfig& saving = job.config.checkpoint;
  for (const TensorPart& tensor : job.optimizer->state()) {
    if (saving.async && saving.every > 0) {
      estimate.checkpoint += saving.in_flight * static_cast<int64_t>(tensor.data.nbytes());
    }
    const bool is_value = !tensor.name.starts_with("optimizer.") &&
                          compute_dtype(job.config.train.compute_precision()) == tensor.data.scalar_type();
    if (!is_value) estimate.optimizer += static_cast<int64_t>(tensor.data.nbytes());
  }
  estimate.activations = activation_bytes(job);

  // Other ranks' experts are not listed here, but all experts of a layer are alike.
  const DecoderConfig& model = job.config.model;
  const int64_t matrix = moe.expert_width * model.width;
  const int64_t up = up_matrices(moe.activation);
  const int64_t shared = moe.share == "up" ? up : moe.share == "down" ? 1 : 0, own = up + 1 - shared;
  int64_t mixtures = 0;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    if (!model.is_moe_layer(layer)) continue;
    if (mixtures++ % moe.share_layers == 0) estimate.model_parameters += (moe.experts * own + shared) * matrix;
    estimate.active_parameters += (moe.experts_per_token * own + shared) * matrix;
  }
  for (const Parameter* parameter : job.model->parameters()) {
    for (const Slice& slice : parameter->slices()) {
      if (slice.spec.name.find(".moe.experts.") != std::string::npos) continue;
      estimate.model_parameters += Box::whole(slice.spec.shape).numel();
      estimate.active_parameters += Box::whole(slice.spec.shape).numel();
    }
  }
  return estimate;
}

std::string describe_layout(const MeshShape& shape) {
  return absl::StrCat("data ", shape.data, " x tensor ", shape.tensor, "; experts: expert_data ", shape.expert_data,
                      " x expert ", shape.expert, " x expert_tensor ", shape.expert_tensor, "; ",
                      describe_dispatch(shape.dispatcher, shape.dispatch_chunks));
}

std::string describe(const MemoryEstimate& largest, const RunConfig& config, const MeshShape& shape) {
  return absl::StrCat("layout      ", describe_layout(shape), "\n", "step        ", config.train.global_batch,
                      " sequences of ", config.data.sequence, " tokens in ", config.train.accumulation, " parts, ",
                      config.train.precision, "\n", "parameters  ", millions(largest.model_parameters), ", ",
                      millions(largest.active_parameters), " active a token, at most ",
                      millions(largest.rank_parameters), " on a rank\n", "memory      at most ", gib(largest.total()),
                      " a rank: values ", gib(largest.values), ", gradients ", gib(largest.gradients), ", optimizer ",
                      gib(largest.optimizer), ", activations about ", gib(largest.activations), ", checkpoint copies ",
                      gib(largest.checkpoint), "\n");
}

}  // namespace switchyard
