#include "launch/verify/reference_bytes.h"

namespace switchyard {
namespace {

// Value, gradient, master, two moments; while an update is compared, the masters before it, what it has replaced, and
// both sides' differences with their parts.
constexpr double kOfParameter = 11;
// What plain operations keep for backward, as multiples of their result.
constexpr double kOfNorm = 3, kOfSwiglu = 5, kOfActivation = 4, kOfScore = 3;

double kept_by_network(const std::string& activation, double hidden) {
  return (activation == "swiglu" ? kOfSwiglu : kOfActivation) * hidden;
}

// Elements that autograd keeps of a token in one layer: the block's input and both sums, two norms, q, k and v before
// and after their rotation, k and v for every head, what attention gives, scores; then the network's.
double kept_of_token(const RunConfig& config, int64_t layer) {
  const DecoderConfig& model = config.model;
  const auto width = static_cast<double>(model.width);
  const auto heads = static_cast<double>(model.attention.heads);
  const auto kv_heads = static_cast<double>(model.attention.kv_heads);
  double kept = (3 + 2 * kOfNorm) * width +
                (5 * heads + 3 * kv_heads) * static_cast<double>(model.attention.head_width) +
                kOfScore * heads * static_cast<double>(config.data.sequence);
  if (!model.is_moe_layer(layer)) {
    return kept + kept_by_network(model.feed_forward.activation, static_cast<double>(model.feed_forward.width));
  }
  const MoeConfig& moe = model.moe;
  const auto hidden = static_cast<double>(moe.expert_width), k = static_cast<double>(moe.experts_per_token);
  // A slot's input, result and weighted result; the sum so far is kept for every expert.
  kept += k * (kept_by_network(moe.activation, hidden) + 3 * width) + static_cast<double>(moe.experts) * (width + 2);
  return kept + kept_by_network(moe.activation, static_cast<double>(moe.shared_experts) * hidden);
}

}  // namespace

int64_t reference_bytes(const RunConfig& config, int64_t vocabulary, int64_t parameters) {
  const auto tokens = static_cast<double>(config.train.global_batch * config.data.sequence);
  const double part = tokens / static_cast<double>(config.train.accumulation);
  const auto columns = static_cast<double>(vocabulary);
  double elements = kOfParameter * static_cast<double>(parameters);
  for (int64_t layer = 0; layer < config.model.layers; ++layer) elements += part * kept_of_token(config, layer);
  elements += 3 * part * columns;  // logarithms of probabilities, and two gradients
  // Of all parts: logits, input gradients, and what the layout's step has left here of them.
  elements += 2 * tokens * (columns + static_cast<double>(config.model.layers * config.model.width));
  return static_cast<int64_t>(8 * elements);
}

}  // namespace switchyard
