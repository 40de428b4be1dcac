// The decoder once more, as a person would write it down: whole tensors on one rank, fp64, ATen's operations and plain
// autograd; a dense loop over experts, attention under an explicit mask. It shares no kernel, no dispatcher and no
// collective with the model that trains.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/verify/plain_parameters.h"
#include "launch/verify/plain_router.h"
#include "layers/models/decoder/config.h"
#include "layers/models/token_batch.h"

namespace switchyard {

// Of a batch that is a whole part.
TokenContext whole_part_context(const TokenBatch& batch);

struct PlainOutput {
  at::Tensor loss;  // cross-entropy and auxiliary losses have been divided as the step's are
  at::Tensor auxiliary_loss;
  at::Tensor logits_TV;
  std::vector<at::Tensor> block_inputs;  // [T,D] of each block; they keep their gradients
};

class PlainDecoder {
 public:
  // `one_rank` outlives it.
  PlainDecoder(const DecoderConfig& config, int64_t vocabulary, Precision precision, uint64_t seed,
               const Mesh& one_rank);

  // Which experts a layer's tokens go to, given the layer, its router, and what the router sees.
  using Chooser = std::function<Choice(int64_t layer, PlainRouter&, const at::Tensor& x_TD, const TokenContext&)>;
  // A whole part.
  PlainOutput forward(const TokenBatch& batch, const Chooser& chooser);

  PlainParameters& parameters() { return parameters_; }
  void finish_step();
  std::vector<RouterBuffer> router_buffers();

 private:
  struct Attention {
    at::Tensor q, k, v, o;
  };
  struct FeedForward {
    at::Tensor gate, up, down;  // gate: SwiGLU's alone
  };
  struct Block {
    at::Tensor attention_norm, feed_forward_norm;
    Attention attention;
    std::vector<FeedForward> networks;  // the dense one, or the experts
    std::unique_ptr<PlainRouter> router;
    std::vector<FeedForward> shared;  // at most one
    at::Tensor shared_gate;           // undefined: none
  };

  FeedForward make_feed_forward(const std::string& name, int64_t hidden, const std::string& activation);
  FeedForward make_up(const std::string& name, int64_t hidden, const std::string& activation);
  at::Tensor make_down(const std::string& name, int64_t hidden);
  std::vector<FeedForward> make_experts(const std::string& name);
  Block make_block(int64_t layer, uint64_t seed, const Mesh& one_rank);
  at::Tensor attend(const Attention& attention, const at::Tensor& x_TD, const TokenBatch& batch) const;
  at::Tensor mix(Block& block, int64_t layer, const at::Tensor& x_TD, const TokenContext& context,
                 const Chooser& chooser, PlainOutput& output);

  const DecoderConfig config_;
  PlainParameters parameters_;
  at::Tensor embedding_, norm_, head_;
  std::vector<Block> blocks_;
  int64_t mixtures_ = 0;              // mixture layers made so far
  std::vector<FeedForward> experts_;  // of the latest, which share_layers may pass on
};

}  // namespace switchyard
