#include "launch/verify/plain_decoder.h"

#include <cmath>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

namespace switchyard {
namespace {

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double epsilon) {
  return x_TD / (x_TD.square().mean(1, true) + epsilon).sqrt() * weight_D;
}

at::Tensor activate(const std::string& activation, const at::Tensor& gate, const at::Tensor& up) {
  if (activation == "swiglu") return gate * at::sigmoid(gate) * up;
  return activation == "gelu" ? 0.5 * up * (1 + at::erf(up / std::sqrt(2.0))) : at::clamp_min(up, 0);
}

// x: [T, heads, C]; elements i and i + C/2 turn by position · theta^(−2i/C).
at::Tensor turn(const at::Tensor& x, const at::Tensor& positions_T, double theta) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor exponents = at::arange(half, at::kDouble) * (-2.0 / static_cast<double>(x.size(2)));
  const at::Tensor angles = at::outer(positions_T.to(at::kDouble), at::pow(theta, exponents)).unsqueeze(1);
  const at::Tensor a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
  return at::cat({a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()}, 2);
}

// bool [S,S]: which row may look at which, for the sequence that begins at `first`.
at::Tensor visible(const TokenBatch& batch, int64_t first) {
  const at::Tensor starts = at::tensor(batch.piece_starts, at::kLong);
  const at::Tensor rows = at::arange(first, first + batch.sequence, at::kLong);
  const at::Tensor piece_S = at::searchsorted(starts, rows, false, /*right=*/true);
  return piece_S.unsqueeze(1).eq(piece_S.unsqueeze(0)).logical_and(rows.unsqueeze(1).ge(rows.unsqueeze(0)));
}

}  // namespace

TokenContext whole_part_context(const TokenBatch& batch) {
  return {.tokens = batch.tokens,
          .tags = batch.tags,
          .sequence = batch.sequence,
          .first_token = 0,
          .data_rank_tokens = batch.part_tokens,
          .population = batch.part_tokens,
          .part = batch.part,
          .parts = batch.parts,
          .step = batch.step};
}

PlainDecoder::PlainDecoder(const DecoderConfig& config, int64_t vocabulary, Precision precision, uint64_t seed,
                           const Mesh& one_rank)
    : config_(config), parameters_(precision, seed) {
  embedding_ = parameters_.weight("embedding", {vocabulary, config.width}, config.init_scale);
  for (int64_t layer = 0; layer < config.layers; ++layer) blocks_.push_back(make_block(layer, seed, one_rank));
  norm_ = parameters_.ones("norm", {config.width}, false);
  head_ =
      config.tie_embeddings ? embedding_ : parameters_.weight("head", {vocabulary, config.width}, config.init_scale);
}

PlainDecoder::FeedForward PlainDecoder::make_feed_forward(const std::string& name, int64_t hidden,
                                                          const std::string& activation) {
  FeedForward network = make_up(name, hidden, activation);
  network.down = make_down(name, hidden);
  return network;
}

PlainDecoder::FeedForward PlainDecoder::make_up(const std::string& name, int64_t hidden,
                                                const std::string& activation) {
  FeedForward network;
  if (activation == "swiglu") {
    network.gate = parameters_.weight(name + ".gate", {hidden, config_.width}, config_.init_scale);
  }
  network.up = parameters_.weight(name + ".up", {hidden, config_.width}, config_.init_scale);
  return network;
}

at::Tensor PlainDecoder::make_down(const std::string& name, int64_t hidden) {
  const double residual_scale = config_.init_scale / std::sqrt(2.0 * static_cast<double>(config_.layers));
  return parameters_.weight(name + ".down", {config_.width, hidden}, residual_scale);
}

PlainDecoder::Block PlainDecoder::make_block(int64_t layer, uint64_t seed, const Mesh& one_rank) {
  const std::string name = absl::StrCat("layers.", layer);
  const AttentionConfig& heads = config_.attention;
  const int64_t D = config_.width, C = heads.head_width;
  const double scale = config_.init_scale;
  Block block;
  block.attention_norm = parameters_.ones(name + ".attention_norm", {D}, false);
  block.attention = {.q = parameters_.weight(name + ".attention.q", {heads.heads * C, D}, scale),
                     .k = parameters_.weight(name + ".attention.k", {heads.kv_heads * C, D}, scale),
                     .v = parameters_.weight(name + ".attention.v", {heads.kv_heads * C, D}, scale),
                     .o = parameters_.weight(name + ".attention.o", {D, heads.heads * C},
                                             scale / std::sqrt(2.0 * static_cast<double>(config_.layers)))};
  block.feed_forward_norm = parameters_.ones(name + ".feed_forward_norm", {D}, false);
  const MoeConfig& moe = config_.moe;
  if (!config_.is_moe_layer(layer)) {
    block.networks = {
        make_feed_forward(name + ".feed_forward", config_.feed_forward.width, config_.feed_forward.activation)};
    return block;
  }
  block.router = make_plain_router(name + ".moe", D, scale, seed, moe, one_rank, parameters_);
  if (mixtures_++ % moe.share_layers == 0) experts_ = make_experts(name + ".moe.experts.");
  block.networks = experts_;
  if (moe.shared_experts > 0) {
    block.shared = {make_feed_forward(name + ".moe.shared", moe.shared_experts * moe.expert_width, moe.activation)};
  }
  if (moe.shared_gate) block.shared_gate = parameters_.weight(name + ".moe.shared_gate", {1, D}, scale);
  return block;
}

// Matrices that all experts share are made with the first.
std::vector<PlainDecoder::FeedForward> PlainDecoder::make_experts(const std::string& name) {
  const MoeConfig& moe = config_.moe;
  std::vector<FeedForward> experts;
  for (int64_t e = 0; e < moe.experts; ++e) {
    const auto owner = [&](const char* shared) {
      return moe.share == shared ? name + "shared" : absl::StrCat(name, e);
    };
    FeedForward network;
    if (e == 0 || moe.share != "up") {
      network = make_up(owner("up"), moe.expert_width, moe.activation);
    } else {
      network = experts.front();
    }
    network.down = e == 0 || moe.share != "down" ? make_down(owner("down"), moe.expert_width) : experts.front().down;
    experts.push_back(network);
  }
  return experts;
}

at::Tensor PlainDecoder::attend(const Attention& attention, const at::Tensor& x_TD, const TokenBatch& batch) const {
  const AttentionConfig& heads = config_.attention;
  const int64_t T = x_TD.size(0), C = heads.head_width, S = batch.sequence;
  const auto project = [&](const at::Tensor& weight) { return x_TD.matmul(weight.t()).view({T, -1, C}); };
  const at::Tensor q_THC = turn(project(attention.q), batch.positions, heads.rope_theta);
  const int64_t sharers = heads.heads / heads.kv_heads;
  const at::Tensor k_THC = turn(project(attention.k), batch.positions, heads.rope_theta).repeat_interleave(sharers, 1);
  const at::Tensor v_THC = project(attention.v).repeat_interleave(sharers, 1);
  std::vector<at::Tensor> outputs;
  for (int64_t first = 0; first < T; first += S) {
    const auto of_sequence = [&](const at::Tensor& x) { return x.narrow(0, first, S).transpose(0, 1); };  // [H,S,C]
    const at::Tensor scores_HSS =
        of_sequence(q_THC).matmul(of_sequence(k_THC).transpose(1, 2)) / std::sqrt(static_cast<double>(C));
    const at::Tensor hidden = visible(batch, first).logical_not();
    const at::Tensor p_HSS = at::softmax(scores_HSS.masked_fill(hidden, -INFINITY), 2);
    outputs.push_back(p_HSS.matmul(of_sequence(v_THC)).transpose(0, 1).reshape({S, -1}));
  }
  return at::cat(outputs, 0).matmul(attention.o.t());
}

namespace {

template <typename Network>
at::Tensor run(const Network& network, const std::string& activation, const at::Tensor& x) {
  const at::Tensor gate = network.gate.defined() ? x.matmul(network.gate.t()) : at::Tensor();
  return activate(activation, gate, x.matmul(network.up.t())).matmul(network.down.t());
}

}  // namespace

at::Tensor PlainDecoder::mix(Block& block, int64_t layer, const at::Tensor& x_TD, const TokenContext& context,
                             const Chooser& chooser, PlainOutput& output) {
  const MoeConfig& moe = config_.moe;
  const Choice choice = chooser(layer, *block.router, x_TD, context);
  const RouterOutput routed = block.router->route(x_TD, context, choice);
  const at::Tensor token_N = at::repeat_interleave(at::diff(routed.routing.offsets));
  at::Tensor y_TD = at::zeros_like(x_TD);
  for (int64_t e = 0; e < moe.experts; ++e) {
    const at::Tensor slots = routed.routing.experts.eq(e).nonzero().view(-1);
    const at::Tensor tokens = token_N.index_select(0, slots);
    const at::Tensor rows = run(block.networks[e], moe.activation, x_TD.index_select(0, tokens));
    y_TD = y_TD.index_add(0, tokens, rows * routed.routing.weights.index_select(0, slots).unsqueeze(1));
  }
  for (const FeedForward& shared : block.shared) {
    const at::Tensor shared_TD = run(shared, moe.activation, x_TD);
    y_TD = y_TD + (moe.shared_gate ? shared_TD * at::sigmoid(x_TD.matmul(block.shared_gate.t())) : shared_TD);
  }
  output.auxiliary_loss = output.auxiliary_loss + routed.auxiliary_loss;
  return y_TD;
}

PlainOutput PlainDecoder::forward(const TokenBatch& batch, const Chooser& chooser) {
  const TokenContext context = whole_part_context(batch);
  PlainOutput output;
  output.auxiliary_loss = at::zeros({}, at::kDouble);
  at::Tensor x_TD = embedding_.index_select(0, batch.tokens);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    x_TD.retain_grad();
    output.block_inputs.push_back(x_TD);
    x_TD = x_TD + attend(block.attention, rms_norm(x_TD, block.attention_norm, config_.norm_epsilon), batch);
    const at::Tensor n_TD = rms_norm(x_TD, block.feed_forward_norm, config_.norm_epsilon);
    x_TD = x_TD + (block.router ? mix(block, static_cast<int64_t>(i), n_TD, context, chooser, output)
                                : run(block.networks.front(), config_.feed_forward.activation, n_TD));
  }
  output.logits_TV = rms_norm(x_TD, norm_, config_.norm_epsilon).matmul(head_.t());
  const at::Tensor counted = batch.targets.ge(0).nonzero().view(-1);
  const at::Tensor log_p_NV = at::log_softmax(output.logits_TV.index_select(0, counted), 1);
  const at::Tensor target_N1 = batch.targets.index_select(0, counted).unsqueeze(1);
  output.loss = -log_p_NV.gather(1, target_N1).sum() / static_cast<double>(batch.global_targets);
  return output;
}

std::vector<RouterBuffer> PlainDecoder::router_buffers() {
  std::vector<RouterBuffer> all;
  for (Block& block : blocks_) {
    if (!block.router) continue;
    for (RouterBuffer& buffer : block.router->buffers()) all.push_back(std::move(buffer));
  }
  return all;
}

void PlainDecoder::finish_step() {
  for (Block& block : blocks_) {
    if (block.router) block.router->finish_step();
  }
}

}  // namespace switchyard
