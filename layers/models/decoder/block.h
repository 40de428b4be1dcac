// One decoder block: x + attention(norm(x)), then x + feed_forward(norm(x)), the latter dense or a mixture of experts.
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "layers/attention/grouped_query.h"
#include "layers/build_context.h"
#include "layers/feed_forward/feed_forward.h"
#include "layers/models/token_batch.h"
#include "layers/moe/moe_layer.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// An RMSNorm weight [D], replicated over data and tensor ranks, each of which sees its own rows.
std::unique_ptr<Parameter> make_norm(const std::string& name, int64_t width, const BuildContext& context);

struct BlockOutput {
  at::Tensor x_tD;
  at::Tensor auxiliary_loss;  // scalar, this rank's share; undefined for a dense block
};

class DecoderBlock {
 public:
  // Exactly one of `dense` and `moe` is given.
  DecoderBlock(std::unique_ptr<Parameter> attention_norm, std::unique_ptr<GroupedQueryAttention> attention,
               std::unique_ptr<Parameter> feed_forward_norm, std::unique_ptr<FeedForward> dense,
               std::unique_ptr<MoeLayer> moe, double norm_epsilon);

  // x_tD: this tensor rank's rows. Collective over the ranks that hold parts of the block.
  BlockOutput forward(const at::Tensor& x_tD, const TokenBatch& batch, const TokenContext& context);
  ParameterList parameters();
  MoeLayer* moe() { return moe_.get(); }  // null for a dense block

 private:
  std::unique_ptr<Parameter> attention_norm_;
  std::unique_ptr<GroupedQueryAttention> attention_;
  std::unique_ptr<Parameter> feed_forward_norm_;
  std::unique_ptr<FeedForward> dense_;
  std::unique_ptr<MoeLayer> moe_;
  double norm_epsilon_;
};

}  // namespace switchyard
