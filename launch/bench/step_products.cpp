#include "launch/bench/step_products.h"

#include "layers/ops/activation.h"
#include "parallel/topology/box.h"

namespace switchyard {
namespace {

// This rank's share of n things along an axis.
int64_t share(int64_t n, const Mesh& mesh, Axis axis) {
  const auto [begin, end] = cut(n, mesh.size(axis), mesh.index(axis));
  return end - begin;
}

std::vector<WeightProduct> projections(const DecoderConfig& model, int64_t rows, const Mesh& mesh) {
  const AttentionConfig& attention = model.attention;
  const int64_t tensor = mesh.size(Axis::kTensor), shards = tensor / mesh.size(Axis::kKvReplica);
  const int64_t q = attention.heads / tensor * attention.head_width;
  const int64_t kv = attention.kv_heads / shards * attention.head_width;
  return {{rows, q + 2 * kv, model.width}, {rows, model.width, q}};
}

// Of one sequence: each head's scores and its sums of values, over the half of the sequence that a token sees on
// average.
std::vector<WeightProduct> scores(const DecoderConfig& model, int64_t sequence, const Mesh& mesh) {
  const int64_t width = model.attention.head_width, seen = sequence / 2;
  std::vector<WeightProduct> products;
  for (int64_t head = 0; head < model.attention.heads / mesh.size(Axis::kTensor); ++head) {
    products.push_back({sequence, seen, width});
    products.push_back({sequence, width, seen});
  }
  return products;
}

std::vector<WeightProduct> feed_forward(int64_t rows, int64_t width, int64_t hidden, const std::string& activation) {
  return {{rows, pre_activation_width(activation_from_name(activation), hidden), width}, {rows, width, hidden}};
}

// `tokens`: of a part, over all ranks; `rows`: of this data rank.
std::vector<WeightProduct> mixture(const DecoderConfig& model, int64_t tokens, int64_t rows, const Mesh& mesh) {
  const MoeConfig& moe = model.moe;
  const auto append = [](std::vector<WeightProduct>& to, const std::vector<WeightProduct>& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  std::vector<WeightProduct> products{{share(rows, mesh, Axis::kTensor), moe.experts, model.width}};
  const auto [begin, end] = cut(moe.experts, mesh.size(Axis::kExpert), mesh.index(Axis::kExpert));
  const int64_t hidden = share(moe.expert_width, mesh, Axis::kExpertTensor);
  for (int64_t e = begin; e < end; ++e) {
    const auto [first, last] = cut(tokens * moe.experts_per_token, moe.experts, e);
    append(products, feed_forward(share(last - first, mesh, Axis::kExpertData), model.width, hidden, moe.activation));
  }
  if (moe.shared_experts > 0) {
    append(products, feed_forward(rows, model.width, share(moe.shared_experts * moe.expert_width, mesh, Axis::kTensor),
                                  moe.activation));
  }
  return products;
}

}  // namespace

std::vector<RepeatedProducts> step_products(const RunConfig& config, int64_t vocabulary, const Mesh& mesh) {
  const DecoderConfig& model = config.model;
  const int64_t parts = config.train.accumulation, sequence = config.data.sequence;
  const int64_t part_sequences = config.train.global_batch / parts;
  const int64_t sequences = share(part_sequences, mesh, Axis::kData), rows = sequences * sequence;
  const int64_t mixtures = model.moe_layer_count();

  std::vector<RepeatedProducts> step{
      {projections(model, rows, mesh), model.layers * parts},
      {scores(model, sequence, mesh), model.layers * sequences * parts},
      {{{rows, share(vocabulary, mesh, Axis::kTensor), model.width}}, parts},
  };
  if (mixtures > 0) step.push_back({mixture(model, part_sequences * sequence, rows, mesh), mixtures * parts});
  if (mixtures < model.layers) {
    step.push_back({feed_forward(rows, model.width, share(model.feed_forward.width, mesh, Axis::kTensor),
                                 model.feed_forward.activation),
                    (model.layers - mixtures) * parts});
  }
  return step;
}

}  // namespace switchyard
