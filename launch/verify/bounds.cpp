#include "launch/verify/bounds.h"

#include <algorithm>
#include <cmath>

#include "launch/verify/round_off.h"

namespace switchyard {
namespace {

// What is rounded on the way through a part of the model. An error's variance, in units of the result's norm, is
// terms · u_sum² + stored · u_store².
struct Roundings {
  double terms = 0;   // of all sums: n for a sum of n, which is kept in fp32 (fp64)
  double stored = 0;  // results that are rounded to the activations' format

  Roundings& operator+=(const Roundings& more) {
    terms += more.terms;
    stored += more.stored;
    return *this;
  }
  double variance(Precision precision) const {
    const double sum = accumulated_unit(precision), store = stored_unit(precision);
    return terms * sum * sum + stored * store * store;
  }
};

struct Widths {
  double model, heads, head, key_values, sequence;
};

Widths widths_of(const DecoderConfig& config, const Bounds::Sizes& sizes) {
  const AttentionConfig& a = config.attention;
  return {.model = static_cast<double>(config.width),
          .heads = static_cast<double>(a.heads * a.head_width),
          .head = static_cast<double>(a.head_width),
          .key_values = static_cast<double>(2 * a.kv_heads * a.head_width),
          .sequence = static_cast<double>(sizes.sequence)};
}

// The hidden width of a layer's network, or of the wider one of its experts and its shared expert.
double hidden_width(const DecoderConfig& config, int64_t layer) {
  if (!config.is_moe_layer(layer)) return static_cast<double>(config.feed_forward.width);
  return static_cast<double>(config.moe.expert_width * std::max<int64_t>(1, config.moe.shared_experts));
}

// Norm; q, k and v, rotation; scores, softmax, their product with v; o; residual. Then norm; gate and up, activation,
// product; down; residual. A mixture: logits, softmax, combination, and the sum with the shared expert.
Roundings forward_of_block(const DecoderConfig& config, const Widths& w, int64_t layer) {
  Roundings all{.terms = 2 * w.model + w.head + 2 * w.sequence + w.heads, .stored = 8};
  all += {.terms = 2 * w.model + hidden_width(config, layer), .stored = 6};
  if (config.is_moe_layer(layer)) {
    const auto experts = static_cast<double>(config.moe.experts), k = static_cast<double>(config.moe.experts_per_token);
    all += {.terms = w.model + experts + k, .stored = 2};
  }
  return all;
}

// The same backwards: a product's input gradient is a sum over its outputs, a norm's and a softmax's over a row, twice.
Roundings backward_of_block(const DecoderConfig& config, const Widths& w, int64_t layer) {
  Roundings all{.terms = w.model + w.heads + w.key_values + w.head + 3 * w.sequence + 2 * w.model, .stored = 9};
  all += {.terms = w.model + 2 * hidden_width(config, layer) + 2 * w.model, .stored = 7};
  if (config.is_moe_layer(layer)) {
    const auto experts = static_cast<double>(config.moe.experts), k = static_cast<double>(config.moe.experts_per_token);
    all += {.terms = w.model + 2 * experts + k, .stored = 3};
  }
  return all;
}

}  // namespace

// Roundings are taken as independent errors of at most the unit round-off u of the format that is rounded to, so that
// a sum of n terms has an error of at most λ·√n·u, but for a probability of 2·exp(−λ²/2) (Higham and Mary, "A new
// approach to probabilistic rounding error analysis", 2019). Errors of results in series add up as squares: a norm and
// a residual after each keep what follows from being larger than what came before. Backward goes the same way back,
// with values that forward has rounded already and from logits that it has: its variance is that of its own roundings
// and twice forward's. A parameter's gradient is a sum over all tokens of that, in fp32 (fp64).
Bounds::Bounds(const DecoderConfig& config, const Sizes& sizes, Precision precision, bool both_round)
    : sides_(both_round ? std::sqrt(2.0) : 1.0), kept_(accumulated_unit(precision)) {
  const Widths w = widths_of(config, sizes);
  // The last norm and the head; then the loss's gradient, the head's, and the norm's.
  Roundings forward{.terms = 2 * w.model, .stored = 2};
  Roundings backward{.terms = static_cast<double>(2 * sizes.vocabulary) + 2 * w.model, .stored = 3};
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    forward += forward_of_block(config, w, layer);
    backward += backward_of_block(config, w, layer);
  }
  const double there = forward.variance(precision), back = backward.variance(precision) + 2 * there;
  const double sum = static_cast<double>(sizes.tokens) * kept_ * kept_;
  forward_ = sides_ * std::sqrt(there);
  backward_ = sides_ * std::sqrt(back);
  gradients_ = sides_ * std::sqrt(back + sum);
}

// The λ for which fewer than one of so many is to be expected beyond the bound.
double Bounds::largest_of(int64_t compared) {
  return std::sqrt(2 * std::log(2 * static_cast<double>(std::max<int64_t>(1, compared))));
}

// The clip factor, the scaled gradient, the difference, the weight, the product, the sum; and the norm that the factor
// comes from.
double Bounds::first_moment(int64_t elements) const {
  return sides_ * 6 * kept_ + norm(elements);
}

// The clip factor and the scaled gradient, twice; two weights, three products, the sum; the norm, squared.
double Bounds::second_moment(int64_t elements) const {
  return sides_ * 10 * kept_ + 2 * norm(elements);
}

// An element's update takes some 12 roundings of its own size (moments, their corrections, root, quotient, scale), and
// two of the value's: the decayed value and the sum are rounded where the value is kept.
double Bounds::update(double values_per_update) const {
  return sides_ * kept_ * (12 + 2 * values_per_update);
}

// Squares are summed in fp64 whatever the precision, on both sides.
double Bounds::norm(int64_t elements) {
  return std::sqrt(2.0 * static_cast<double>(elements)) * kUnitFp64;
}

}  // namespace switchyard
