// The experts of this rank: stacked weights and one autograd function for the whole block.
// Each expert is a feed-forward network without biases, down·activation(up·x); with SwiGLU up is gate and up stacked.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "layers/build_context.h"
#include "layers/ops/activation.h"
#include "parallel/parameter/parameter.h"
#include "parallel/topology/placement.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {

// Which matrices a layer's experts have in common.
enum class ExpertSharing { kNone, kUp, kDown };
// "none", "up" or "down"; anything else is a bug (configs check with one_of).
ExpertSharing expert_sharing_from_name(std::string_view name);

struct ExpertBlock;
struct ExpertChunks;

class Experts {
 public:
  using Chunks = std::shared_ptr<ExpertChunks>;  // null: each by itself

  // `name`: of the layer's MoE, e.g. "layers.3.moe"; expert e's logical tensors are name.experts.e.{gate,up} [F,D], cut
  // by rows over expert_tensor, and name.experts.e.down [D,F], cut by columns; gate is SwiGLU's alone. `placement` is
  // over the mesh's expert axis and may leave this rank without experts. D: width, F: expert_width. What is shared is
  // called name.experts.shared.* and held by every rank of the expert axis, each of which sees its experts' rows only.
  Experts(const std::string& name, int64_t width, int64_t expert_width, Activation activation,
          const Placement& placement, const BuildContext& context, ExpertSharing sharing = ExpertSharing::kNone);

  // rows_RD: rows grouped by local expert in ascending id, counts[i] of them for the i-th; dtype of the context.
  // Returns [R,D] in the same order; with expert_tensor > 1 only this rank's part of the sum over it. Local: no
  // communication. The backward gives the rows' gradient and adds the weights' to their parameters; an expert without
  // rows adds nothing.
  // Where rows of D and of F values are multiples of 64 bytes, an expert's outputs and gradients have the same bits
  // whatever other experts are in the block.
  at::Tensor forward(const at::Tensor& rows_RD, std::span<const int64_t> counts, const Chunks& chunks = {});

  // Before rows that come in chunks: `begun`, what their dispatch will end, is replaced by what is to be ended instead.
  // Where each chunk's forward then gets what this returns, the weights' gradients are made when backward is back here,
  // of all chunks together: a matrix is written once, and while what the chunks send back is on the wire. Until then
  // each chunk keeps activations and gradients of R rows. Null where there is nothing to put off: without gradients of
  // the rows, and on a device.
  Chunks begin_chunks(std::vector<at::Tensor>& begun);

  // In the order of use; on a rank without experts what is shared, if anything.
  ParameterList parameters();

  int64_t local_experts() const { return local_experts_; }

 private:
  ExpertBlock block() const;

  Activation activation_;
  bool recompute_;              // pre-activations, in backward
  const SharedMemory* memory_;  // for what other ranks of the host read; may be null
  int64_t local_experts_;
  // Null on a rank without experts, unless shared; shared ones are stacks of one.
  std::unique_ptr<Parameter> up_;    // [experts, P, D], P: pre_activation_width of the local part of F
  std::unique_ptr<Parameter> down_;  // [experts, D, local part of F]
};

}  // namespace switchyard
