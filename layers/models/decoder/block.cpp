#include "layers/models/decoder/block.h"

#include <ATen/ATen.h>

#include "layers/ops/rms_norm.h"
#include "runtime/base/check.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {

std::unique_ptr<Parameter> make_norm(const std::string& name, int64_t width, const BuildContext& context) {
  const AxisSet rows{Axis::kData, Axis::kTensor};
  Slice slice{.spec = {name, {width}, Box::whole({width}), rows, rows},
              .initialisation = Initialisation::kOnes,
              .weight_decay = false};
  return std::make_unique<Parameter>(std::vector<int64_t>{width}, context.options(), std::vector<Slice>{slice});
}

DecoderBlock::DecoderBlock(std::unique_ptr<Parameter> attention_norm, std::unique_ptr<GroupedQueryAttention> attention,
                           std::unique_ptr<Parameter> feed_forward_norm, std::unique_ptr<FeedForward> dense,
                           std::unique_ptr<MoeLayer> moe, double norm_epsilon)
    : attention_norm_(std::move(attention_norm)),
      attention_(std::move(attention)),
      feed_forward_norm_(std::move(feed_forward_norm)),
      dense_(std::move(dense)),
      moe_(std::move(moe)),
      norm_epsilon_(norm_epsilon) {
  SY_CHECK((dense_ == nullptr) != (moe_ == nullptr));
}

BlockOutput DecoderBlock::forward(const at::Tensor& x_tD, const TokenBatch& batch, const TokenContext& context) {
  const at::Tensor a_tD =
      in_span("attention", [&] { return attention_->forward(rms_norm(x_tD, *attention_norm_, norm_epsilon_), batch); });
  const at::Tensor h_tD = x_tD + a_tD;
  const at::Tensor n_tD = rms_norm(h_tD, *feed_forward_norm_, norm_epsilon_);
  if (dense_) {
    return {h_tD + in_span("feed forward", [&] { return dense_->forward(n_tD, batch.tokens.numel()); }), {}};
  }
  MoeOutput moe = moe_->forward(n_tD, context);
  return {h_tD + moe.y_tD, moe.auxiliary_loss};
}

ParameterList DecoderBlock::parameters() {
  ParameterList list{attention_norm_.get()};
  const auto append = [&list](const ParameterList& more) { list.insert(list.end(), more.begin(), more.end()); };
  append(attention_->parameters());
  list.push_back(feed_forward_norm_.get());
  append(dense_ ? dense_->parameters() : moe_->parameters());
  return list;
}

}  // namespace switchyard
