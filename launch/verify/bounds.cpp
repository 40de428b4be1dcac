#include "launch/verify/bounds.h"

#include <algorithm>
#include <cmath>

#include "launch/verify/round_off.h"

namespace switchyard {
namespace {

// Results that are rounded one after another on the way through one block: two norms (3 each), projections and rotation
// (2), scores, softmax and their product with the values (4), o and the residual (2), gate, weights and combine (4),
// up, activation and down (4), the second residual (1).
constexpr double kRoundingsPerBlock = 23;
// Embedding, last norm, head, cross-entropy.
constexpr double kRoundingsOutside = 8;

}  // namespace

// Roundings are taken as independent errors of at most the unit round-off u of the format that is rounded to (Higham
// and Mary, "A new approach to probabilistic rounding error analysis", 2019):
// - a sum of n terms, kept in a format with u_sum while it is taken and rounded once to one with u_store, has a
// relative
//   error of √n·u_sum + u_store, in units of its norm;
// - `depth` such results in series add up to √depth of that, since a norm and a residual after each keep what follows
//   from being larger than what came before;
// - backward goes the same way back, through values that forward has rounded already: three times the depth;
// - a layout and its reference both round: their difference has at most twice the error of one.
// n is the longest sum that the step takes: over a width, the vocabulary, a sequence's keys, or, in a weight's
// gradient, all tokens. bf16 sums in fp32.
Bounds::Bounds(const DecoderConfig& config, int64_t vocabulary, int64_t tokens, Precision precision) {
  kept_ = accumulated_unit(precision);
  const double stored = stored_unit(precision);
  const MoeConfig& moe = config.moe;
  const double longest = static_cast<double>(
      std::max({config.width, config.attention.heads * config.attention.head_width, config.feed_forward.width,
                moe.expert_width * std::max<int64_t>(1, moe.shared_experts), vocabulary, tokens}));
  const double depth = kRoundingsPerBlock * static_cast<double>(config.layers) + kRoundingsOutside;
  const double once = std::sqrt(longest) * kept_ + stored;
  forward_ = 2 * std::sqrt(depth) * once;
  backward_ = 2 * std::sqrt(3 * depth) * once;
}

// Where terms cancel (a router's gradient where a single expert has all of a token's weight is nothing but rounding), a
// result keeps the errors of its terms, which are about as large as gradients are elsewhere.
double Bounds::scale(double norm, double share_of_all) {
  return std::max(norm, share_of_all / 16);
}

// An element's update takes some 12 roundings of its own size (moments, their corrections, root, quotient, scale), and
// two of the value's: the decayed value and the sum are rounded where the value is kept.
double Bounds::update(double values_per_update) const {
  return 2 * kept_ * (12 + 2 * values_per_update);
}

// Squares are summed in fp64 whatever the precision.
double Bounds::norm(int64_t elements) {
  return 2 * std::sqrt(static_cast<double>(elements)) * kUnitFp64;
}

}  // namespace switchyard
