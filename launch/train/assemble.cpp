#include "launch/train/assemble.h"

#include <cmath>

#include <absl/strings/str_cat.h>

#include "layers/moe/experts.h"
#include "layers/moe/router/gate_network.h"
#include "layers/moe/router/make_router.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

template <typename Part>
std::unique_ptr<Part> decorate(const std::function<std::unique_ptr<Part>(std::unique_ptr<Part>)>& decorator,
                               std::unique_ptr<Part> part) {
  return decorator ? decorator(std::move(part)) : std::move(part);
}

// `experts`: of the mixture layer before, which share_layers may pass on; this layer's afterwards.
std::unique_ptr<MoeLayer> make_moe(int64_t layer, const DecoderConfig& model, const BuildContext& context,
                                   const Decorators& decorators, std::shared_ptr<Experts>& experts) {
  const std::string name = absl::StrCat("layers.", layer, ".moe");
  const MoeConfig& config = model.moe;
  const int64_t width = model.width;
  const Activation activation = activation_from_name(config.activation);
  const Placement placement = Placement::contiguous(config.experts, context.mesh.size(Axis::kExpert));
  std::unique_ptr<FeedForward> shared;
  std::unique_ptr<Parameter> shared_gate;
  if (config.shared_experts > 0) {
    shared = std::make_unique<FeedForward>(name + ".shared", width, config.shared_experts * config.expert_width,
                                           activation, context);
  }
  if (config.shared_gate) {
    shared_gate =
        make_router_parameter(name + ".shared_gate", {1, width}, Initialisation::kNormal, context.init_scale, context);
  }
  if ((layer - config.first_dense) / config.every % config.share_layers == 0) {
    experts = std::make_shared<Experts>(name, width, config.expert_width, activation, placement, context,
                                        expert_sharing_from_name(config.share));
  }
  return std::make_unique<MoeLayer>(
      decorate(decorators.router, make_router(name, width, config, context)),
      decorate(decorators.dispatcher, make_dispatcher(context.mesh.shape().dispatcher, placement, context.mesh)),
      experts, std::move(shared), std::move(shared_gate), context.mesh);
}

std::unique_ptr<DecoderBlock> make_block(int64_t layer, const DecoderConfig& config, const BuildContext& context,
                                         const Decorators& decorators, std::shared_ptr<Experts>& experts) {
  const std::string name = absl::StrCat("layers.", layer);
  std::unique_ptr<FeedForward> dense;
  std::unique_ptr<MoeLayer> moe;
  if (config.is_moe_layer(layer)) {
    moe = make_moe(layer, config, context, decorators, experts);
  } else {
    dense = std::make_unique<FeedForward>(name + ".feed_forward", config.width, config.feed_forward.width,
                                          activation_from_name(config.feed_forward.activation), context);
  }
  return std::make_unique<DecoderBlock>(
      make_norm(name + ".attention_norm", config.width, context),
      std::make_unique<GroupedQueryAttention>(name + ".attention", config.width, config.attention, context),
      make_norm(name + ".feed_forward_norm", config.width, context), std::move(dense), std::move(moe),
      config.norm_epsilon);
}

}  // namespace

Recompute recompute_from_name(std::string_view name) {
  if (name == "activation") return Recompute::kActivations;
  if (name == "layer") return Recompute::kLayers;
  SY_CHECK(name == "none");
  return Recompute::kNone;
}

std::unique_ptr<Decoder> assemble(const DecoderConfig& config, int64_t vocabulary, const at::TensorOptions& options,
                                  Recompute recompute, uint64_t seed, const Mesh& mesh, const Decorators& decorators) {
  const BuildContext context{.mesh = mesh,
                             .dtype = c10::typeMetaToScalarType(options.dtype()),
                             .init_scale = config.init_scale,
                             .residual_init_scale = config.init_scale / std::sqrt(2.0 * config.layers),
                             .seed = seed,
                             .device = options.device(),
                             .recompute_activations = recompute == Recompute::kActivations};

  auto embedding = make_vocabulary_parameter("embedding", vocabulary, config.width, context);
  std::vector<std::unique_ptr<DecoderBlock>> blocks;
  std::shared_ptr<Experts> experts;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks.push_back(make_block(layer, config, context, decorators, experts));
  }
  auto norm = make_norm("norm", config.width, context);
  std::unique_ptr<Parameter> head;
  if (!config.tie_embeddings) head = make_vocabulary_parameter("head", vocabulary, config.width, context);

  return std::make_unique<Decoder>(
      mesh, vocabulary, std::move(embedding), std::move(blocks), std::move(norm), std::move(head), config.norm_epsilon,
      Decoder::Recomputed{.blocks = recompute == Recompute::kLayers, .logits = recompute != Recompute::kNone});
}

}  // namespace switchyard
