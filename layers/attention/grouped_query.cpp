#include "layers/attention/grouped_query.h"

#include "layers/ops/linear.h"
#include "layers/ops/rope.h"
#include "parallel/tensor/rows.h"
#include "parallel/topology/box.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

HeadCounts local_heads(const AttentionConfig& config, const Mesh& mesh) {
  const int tensor = mesh.size(Axis::kTensor), shards = tensor / mesh.size(Axis::kKvReplica);
  SY_CHECK_EQ(config.heads % tensor, 0);
  SY_CHECK_EQ(config.kv_heads % shards, 0);
  const HeadCounts heads{config.heads / tensor, config.kv_heads / shards, config.head_width};
  SY_CHECK_EQ(heads.query % heads.key_value, 0);
  return heads;
}

// `count` heads of `total`, from head `first` on.
Slice head_slice(std::string name, int64_t first, int64_t count, int64_t total, int64_t head_width, int64_t width,
                 AxisSet replicated, double scale) {
  Slice slice;
  slice.spec = {.name = std::move(name),
                .shape = {total * head_width, width},
                .box = {{first * head_width, 0}, {count * head_width, width}},
                .replicated = replicated,
                .partial = replicated};
  slice.scale = scale;
  return slice;
}

std::vector<Slice> qkv_slices(const std::string& name, int64_t width, const AttentionConfig& config, HeadCounts local,
                              const BuildContext& context) {
  const int tensor = context.mesh.index(Axis::kTensor), replicas = context.mesh.size(Axis::kKvReplica);
  const int64_t first_kv = tensor / replicas * local.key_value;
  // Ranks that share a key and value head saw different query heads: their gradients are parts of a sum.
  const AxisSet kv_groups = {Axis::kData, Axis::kKvReplica};
  std::vector<Slice> slices = {head_slice(name + ".q", tensor * local.query, local.query, config.heads, local.width,
                                          width, {Axis::kData}, context.init_scale),
                               head_slice(name + ".k", first_kv, local.key_value, config.kv_heads, local.width, width,
                                          kv_groups, context.init_scale),
                               head_slice(name + ".v", first_kv, local.key_value, config.kv_heads, local.width, width,
                                          kv_groups, context.init_scale)};
  for (size_t i = 1; i < slices.size(); ++i) slices[i].offset = slices[i - 1].offset + slices[i - 1].spec.box.numel();
  return slices;
}

std::vector<Slice> output_slices(const std::string& name, int64_t width, const AttentionConfig& config,
                                 HeadCounts local, const BuildContext& context) {
  const int64_t columns = local.query * local.width;
  Slice slice;
  slice.spec = {.name = name + ".o",
                .shape = {width, config.heads * local.width},
                .box = {{0, context.mesh.index(Axis::kTensor) * columns}, {width, columns}},
                .replicated = {Axis::kData},
                .partial = {Axis::kData}};
  slice.scale = context.residual_init_scale;
  return {slice};
}

}  // namespace

GroupedQueryAttention::GroupedQueryAttention(const std::string& name, int64_t width, const AttentionConfig& config,
                                             const BuildContext& context)
    : tensor_(context.mesh.group({Axis::kTensor}, Purpose::kLayer)),
      heads_(local_heads(config, context.mesh)),
      rope_theta_(config.rope_theta),
      qkv_({heads_.columns(), width}, context.options(), qkv_slices(name, width, config, heads_, context)),
      o_({width, heads_.query * heads_.width}, context.options(), output_slices(name, width, config, heads_, context)) {
}

at::Tensor GroupedQueryAttention::forward(const at::Tensor& x_tD, const TokenBatch& batch) {
  const std::vector<int64_t> rows = cut_sizes(batch.tokens.numel(), tensor_.size());
  const at::Tensor x_TD = gather_rows(x_tD, rows, tensor_);
  const at::Tensor qkv_TX =
      rope(linear(x_TD, qkv_), batch.positions, heads_.query + heads_.key_value, heads_.width, rope_theta_);
  const at::Tensor y_TY = causal_attention(qkv_TX, batch.piece_starts, heads_);
  return reduce_scatter_rows(linear(y_TY, o_), rows, tensor_);
}

}  // namespace switchyard
