#include "layers/models/decoder/decoder.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "layers/ops/cross_entropy.h"
#include "layers/ops/embedding.h"
#include "layers/ops/linear.h"
#include "layers/ops/recompute.h"
#include "layers/ops/rms_norm.h"
#include "parallel/tensor/rows.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {

std::unique_ptr<Parameter> make_vocabulary_parameter(const std::string& name, int64_t vocabulary, int64_t width,
                                                     const BuildContext& context) {
  const auto [begin, end] = cut(vocabulary, context.mesh.size(Axis::kTensor), context.mesh.index(Axis::kTensor));
  const AxisSet data{Axis::kData};
  Slice slice{.spec = {name, {vocabulary, width}, {{begin, 0}, {end - begin, width}}, data, data},
              .scale = context.init_scale};
  return std::make_unique<Parameter>(std::vector<int64_t>{end - begin, width}, context.options(),
                                     std::vector<Slice>{slice});
}

Decoder::Decoder(const Mesh& mesh, int64_t vocabulary, std::unique_ptr<Parameter> embedding,
                 std::vector<std::unique_ptr<DecoderBlock>> blocks, std::unique_ptr<Parameter> norm,
                 std::unique_ptr<Parameter> head, double norm_epsilon, Recomputed recomputed)
    : mesh_(mesh),
      vocabulary_(vocabulary),
      embedding_(std::move(embedding)),
      blocks_(std::move(blocks)),
      norm_(std::move(norm)),
      head_(std::move(head)),
      norm_epsilon_(norm_epsilon),
      recomputed_(recomputed) {}

TokenBatch Decoder::beside_parameters(TokenBatch batch) const {
  const c10::Device device = norm_->value().device();
  for (at::Tensor* tensor : {&batch.tokens, &batch.targets, &batch.tags, &batch.positions}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return batch;
}

DecoderOutput Decoder::forward(const TokenBatch& loaded) {
  const TokenBatch batch = beside_parameters(loaded);
  const BlockOutput hidden = run_blocks(batch);
  const at::Tensor n_TD = in_span("head", [&] { return head_input(hidden.x_tD, batch); });
  const auto [vocab_begin, vocab_end] = cut(vocabulary_, mesh_.size(Axis::kTensor), mesh_.index(Axis::kTensor));
  CrossEntropyOptions options{.vocab_begin = vocab_begin,
                              .scale = batch.global_targets > 0 ? 1.0 / static_cast<double>(batch.global_targets) : 0.0,
                              .recompute = recomputed_.logits};
  if (observer_) {
    options.observer = [&](const at::Tensor& logits_tV, int64_t row) { observer_->logits(logits_tV, row, batch); };
  }
  const at::Tensor loss =
      linear_cross_entropy(n_TD, head(), batch.targets, options, mesh_.group({Axis::kTensor}, Purpose::kLayer));
  const DecoderOutput output{loss, hidden.auxiliary_loss.defined() ? hidden.auxiliary_loss : at::zeros_like(loss)};
  if (observer_) observer_->losses(output, batch);
  return output;
}

at::Tensor Decoder::logits(const TokenBatch& loaded) {
  const TokenBatch batch = beside_parameters(loaded);
  return linear(head_input(run_blocks(batch).x_tD, batch), head());
}

BlockOutput Decoder::run_blocks(const TokenBatch& batch) {
  Communicator& tensor = mesh_.group({Axis::kTensor}, Purpose::kLayer);
  const std::vector<int64_t> rows = cut_sizes(batch.tokens.numel(), tensor.size());
  const auto [vocab_begin, vocab_end] = cut(vocabulary_, tensor.size(), tensor.rank());
  const auto [begin, end] = cut(batch.tokens.numel(), tensor.size(), tensor.rank());
  const TokenContext context{.tokens = batch.tokens.narrow(0, begin, end - begin),
                             .tags = batch.tags.defined() ? batch.tags.narrow(0, begin, end - begin) : at::Tensor(),
                             .sequence = batch.sequence,
                             .first_token = batch.first_token + begin,
                             .data_rank_tokens = batch.tokens.numel(),
                             .population = batch.part_tokens,
                             .part = batch.part,
                             .parts = batch.parts,
                             .step = batch.step,
                             .training = batch.training};

  BlockOutput state{reduce_scatter_rows(embedding(batch.tokens, *embedding_, vocab_begin), rows, tensor), {}};
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const auto& block = blocks_[layer];
    if (observer_) observer_->block_input(static_cast<int64_t>(layer), state.x_tD, batch);
    BlockOutput output;
    if (recomputed_.blocks) {
      // Autograd wants defined outputs: a dense block gives its rows alone.
      std::vector<at::Tensor> outputs = recompute(
          [&block, batch, context](const std::vector<at::Tensor>& inputs) {
            BlockOutput again = block->forward(inputs[0], batch, context);
            std::vector<at::Tensor> result{again.x_tD};
            if (again.auxiliary_loss.defined()) result.push_back(again.auxiliary_loss);
            return result;
          },
          {state.x_tD});
      output = {outputs[0], outputs.size() > 1 ? outputs[1] : at::Tensor()};
    } else {
      output = block->forward(state.x_tD, batch, context);
    }
    state.x_tD = output.x_tD;
    if (!output.auxiliary_loss.defined()) continue;
    state.auxiliary_loss =
        state.auxiliary_loss.defined() ? state.auxiliary_loss + output.auxiliary_loss : output.auxiliary_loss;
  }
  return state;
}

at::Tensor Decoder::head_input(const at::Tensor& x_tD, const TokenBatch& batch) {
  Communicator& tensor = mesh_.group({Axis::kTensor}, Purpose::kLayer);
  const at::Tensor n_tD = rms_norm(x_tD, *norm_, norm_epsilon_);
  return gather_rows(n_tD, cut_sizes(batch.tokens.numel(), tensor.size()), tensor);
}

std::map<int64_t, MoeLayer*> Decoder::moe_layers() const {
  std::map<int64_t, MoeLayer*> layers;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i]->moe()) layers[static_cast<int64_t>(i)] = blocks_[i]->moe();
  }
  return layers;
}

ParameterList Decoder::parameters() {
  ParameterList list{embedding_.get()};
  for (const auto& block : blocks_) {
    for (Parameter* parameter : block->parameters()) {
      const bool listed = std::find(list.begin(), list.end(), parameter) != list.end();  // experts shared by layers
      if (!listed) list.push_back(parameter);
    }
  }
  list.push_back(norm_.get());
  if (head_) list.push_back(head_.get());
  return list;
}

}  // namespace switchyard
