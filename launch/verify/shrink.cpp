#include "launch/verify/shrink.h"

#include <algorithm>
#include <cmath>

#include <absl/strings/str_cat.h>

#include "launch/config/binder.h"
#include "launch/config/document.h"

namespace switchyard {
namespace {

// About `target`, with n's remainder modulo `ranks`; n where that is not more.
int64_t smaller(int64_t n, int64_t target, int64_t ranks) {
  if (n <= target) return n;
  const int64_t result = target - target % ranks + n % ranks;
  return std::min(n, std::max<int64_t>(result, 1));
}

// Of an expert's, where its tokens are limited: with one alone, which token stays would hardly depend on the order.
constexpr int64_t kFewestSlots = 2;

// Cuts the parts of a step to a few short sequences, but to no fewer tokens than experts' slots ask for.
void cut_parts(RunConfig& config, const MeshShape& shape) {
  TrainConfig& train = config.train;
  const int64_t sequences = train.global_batch / train.accumulation, length = config.data.sequence;
  const int64_t wanted_slots = std::min(kFewestSlots, config.expert_slots().value_or(0));
  int64_t part = smaller(sequences, 2 * shape.data, shape.data);
  train.accumulation = std::min<int64_t>(train.accumulation, 3);
  config.data.sequence = smaller(length, 24, shape.tensor);
  const auto too_short = [&] {
    train.global_batch = part * train.accumulation;
    return config.expert_slots().value_or(0) < wanted_slots;
  };
  while (too_short() && part < sequences) part = std::min<int64_t>(part + shape.data, sequences);
  while (too_short() && config.data.sequence < length) {
    config.data.sequence = std::min<int64_t>(config.data.sequence + shape.tensor, length);
  }
}

}  // namespace

absl::StatusOr<Shrunk> shrink(RunConfig config, int64_t vocabulary, const MeshShape& shape) {
  const RunConfig before = config;
  DecoderConfig& model = config.model;
  model.width = smaller(model.width, 32, 1);
  model.init_scale *= std::sqrt(static_cast<double>(before.model.width) / static_cast<double>(model.width));
  model.attention.head_width = smaller(model.attention.head_width, 8, 1);
  model.feed_forward.width = smaller(model.feed_forward.width, 24, shape.tensor);
  MoeConfig& moe = model.moe;
  moe.expert_width = smaller(moe.expert_width, 16, shape.expert_tensor);
  moe.first_dense = std::min<int64_t>(moe.first_dense, 1);
  moe.share_layers = std::min<int64_t>(moe.share_layers, 2);
  // The mixture layers that share experts, what lies between them and the next, and that one.
  model.layers = std::min(model.layers, moe.first_dense + moe.every * moe.share_layers + 1);
  // Enough for its tensors to be cut by rows between the ranks of the optimizer.
  const int64_t tokens = smaller(vocabulary, 640 * shape.tensor, shape.tensor);
  model.vocabulary = tokens;
  cut_parts(config, shape);
  RunConfig valid;
  SY_RETURN_IF_ERROR(bind_text(schema_of(valid), dump_yaml(config), "what --shrink makes of the config", {}));

  std::string changes;
  RunConfig old = before;
  const auto values = flat_values(schema_of(old));
  for (const auto& [path, value] : flat_values(schema_of(config))) {
    if (value == values.at(path) || path == "model.vocabulary" || path == "model.init_scale") continue;
    absl::StrAppend(&changes, path, " ", values.at(path), " → ", value, ", ");
  }
  absl::StrAppend(&changes, "vocabulary ", vocabulary, " → ", tokens);
  return Shrunk{std::move(config), tokens, std::move(changes)};
}

}  // namespace switchyard
