// A decoder-only language model: embedding → blocks → norm → head, with a cross-entropy loss. Parameters are named
// `embedding`, `layers.<i>.{attention_norm,attention.*,feed_forward_norm,feed_forward.*,moe.*}`, `norm` and `head` (the
// last absent with tied embeddings).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "layers/build_context.h"
#include "layers/models/decoder/block.h"
#include "layers/models/token_batch.h"
#include "parallel/parameter/parameter.h"

namespace switchyard {

// Scalars in fp32 (fp64), this rank's share: their sum over all ranks is the value. Already divided by the step's
// global counts, so that shares of accumulation parts add up too.
struct DecoderOutput {
  at::Tensor loss;            // cross-entropy, mean over the step's counted targets
  at::Tensor auxiliary_loss;  // of all routers, coefficients applied, mean over parts
};

// Rows [begin, end) of a [V,D] tensor, V cut over tensor ranks.
std::unique_ptr<Parameter> make_vocabulary_parameter(const std::string& name, int64_t vocabulary, int64_t width,
                                                     const BuildContext& context);

// Sees what passes through forward(), and changes none of it.
class DecoderObserver {
 public:
  virtual ~DecoderObserver() = default;
  // Before each block: this tensor rank's rows.
  virtual void block_input(int64_t layer, const at::Tensor& x_tD, const TokenBatch& batch) = 0;
  // After the last, some rows t at a time from the batch's first_row on: [t, V_local], gone when this returns.
  virtual void logits(const at::Tensor& logits_tV, int64_t first_row, const TokenBatch& batch) = 0;
  // What forward() is about to give.
  virtual void losses(const DecoderOutput& output, const TokenBatch& batch) = 0;
};

class Decoder {
 public:
  // What backward makes again; logits as in CrossEntropyOptions.
  struct Recomputed {
    bool blocks, logits;
  };

  // `head` null: the embedding serves as head.
  Decoder(const Mesh& mesh, int64_t vocabulary, std::unique_ptr<Parameter> embedding,
          std::vector<std::unique_ptr<DecoderBlock>> blocks, std::unique_ptr<Parameter> norm,
          std::unique_ptr<Parameter> head, double norm_epsilon, Recomputed recomputed);

  // Batches may lie on the host or beside the parameters. Collective over all ranks. Failures of the wire are thrown as
  // StatusError.
  DecoderOutput forward(const TokenBatch& batch);
  // Logits over this tensor rank's slice of the vocabulary, [T, V_local]. Collective over all ranks.
  at::Tensor logits(const TokenBatch& batch);

  // From now on; null: nobody. It outlives its observation.
  void observe(DecoderObserver* observer) { observer_ = observer; }

  ParameterList parameters();  // in the order of their use
  std::span<const std::unique_ptr<DecoderBlock>> blocks() const { return blocks_; }
  // The mixture layers, by number of their block.
  std::map<int64_t, MoeLayer*> moe_layers() const;

 private:
  TokenBatch beside_parameters(TokenBatch batch) const;
  BlockOutput run_blocks(const TokenBatch& batch);
  // [T,D], what the head sees of all rows of this data rank.
  at::Tensor head_input(const at::Tensor& x_tD, const TokenBatch& batch);
  Parameter& head() { return head_ ? *head_ : *embedding_; }

  const Mesh& mesh_;
  int64_t vocabulary_;
  std::unique_ptr<Parameter> embedding_;
  std::vector<std::unique_ptr<DecoderBlock>> blocks_;
  std::unique_ptr<Parameter> norm_;
  std::unique_ptr<Parameter> head_;
  double norm_epsilon_;
  Recomputed recomputed_;
  DecoderObserver* observer_ = nullptr;
};

}  // namespace switchyard
