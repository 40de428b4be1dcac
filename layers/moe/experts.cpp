#include "layers/moe/experts.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/moe/expert_block.h"
#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"

namespace switchyard {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Chunks of a block's rows on their way through forward and backward.
struct ExpertChunks {
  const ExpertBlock block;
  std::vector<WeightFactors> factors;  // of the chunks whose backward is done
};

namespace {

void report(const ExpertBlock& block) {
  block.down.accumulated();
  block.up.accumulated();
}

// Leaves the chunks' rows as they are. Its backward comes when all chunks' is done, and what they send is on the wire.
struct BeginChunks : torch::autograd::Function<BeginChunks> {
  static variable_list forward(AutogradContext* ctx, at::TensorList begun,
                               const std::shared_ptr<ExpertChunks>& chunks) {
    ctx->saved_data["chunks"] = hold(chunks);
    return begun.vec();
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto chunks = held<ExpertChunks>(ctx->saved_data["chunks"]);
    add_weight_gradients(chunks->block, std::exchange(chunks->factors, {}));
    report(chunks->block);
    gradients.emplace_back();  // of the chunks
    return gradients;
  }
};

struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  // The weights' values are inputs only so that the block is recorded when the rows need no gradient.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RD, const at::Tensor& up_EPD,
                            const at::Tensor&, const ExpertBlock& block, const std::vector<int64_t>& counts, bool keep,
                            const std::shared_ptr<ExpertChunks>& chunks) {
    const at::Tensor h_RP = pre_activations(rows_RD, up_EPD.size(1), counts, keep);
    // h is neither input nor output, so that it may be kept as it is.
    ctx->save_for_backward({rows_RD, keep ? h_RP : at::Tensor()});
    ctx->saved_data["counts"] = counts;
    ctx->saved_data["block"] = hold(std::make_shared<const ExpertBlock>(block));
    ctx->saved_data["chunks"] = hold(chunks);
    return compute_block(block, rows_RD, counts, h_RP);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto block = held<const ExpertBlock>(ctx->saved_data["block"]);
    const auto chunks = held<ExpertChunks>(ctx->saved_data["chunks"]);
    const std::vector<int64_t> counts = ctx->saved_data["counts"].toIntVector();
    const variable_list saved = ctx->get_saved_variables();
    variable_list result(7);
    result[0] = differentiate_block(*block, saved[0].detach(), saved[1], gradients[0].contiguous(), counts,
                                    ctx->needs_input_grad(0), chunks ? &chunks->factors.emplace_back() : nullptr);
    if (!chunks) report(*block);
    return result;
  }
};

}  // namespace

ExpertSharing expert_sharing_from_name(std::string_view name) {
  if (name == "up") return ExpertSharing::kUp;
  if (name == "down") return ExpertSharing::kDown;
  SY_CHECK(name == "none");
  return ExpertSharing::kNone;
}

Experts::Experts(const std::string& name, int64_t width, int64_t expert_width, Activation activation,
                 const Placement& placement, const BuildContext& context, ExpertSharing sharing)
    : activation_(activation), recompute_(context.recompute_activations), memory_(context.mesh.shared_memory()) {
  const Mesh& mesh = context.mesh;
  SY_CHECK_EQ(static_cast<int>(placement.experts_of.size()), mesh.size(Axis::kExpert));
  std::vector<std::string> own;
  for (const int64_t e : placement.experts_of[mesh.index(Axis::kExpert)]) {
    own.push_back(absl::StrCat(name, ".experts.", e));
  }
  local_experts_ = static_cast<int64_t>(own.size());
  const std::vector<std::string> shared{name + ".experts.shared"};
  const AxisSet own_ranks{Axis::kExpertData}, shared_ranks{Axis::kExpertData, Axis::kExpert};
  const auto [begin, end] = cut(expert_width, mesh.size(Axis::kExpertTensor), mesh.index(Axis::kExpertTensor));
  const int64_t part = end - begin;

  // A stack of one matrix for each name, each made of slices [rows, columns] with the given box's offset.
  const auto stack = [&](bool is_shared, const std::vector<std::string>& tensors, const std::vector<int64_t>& shape,
                         const Box& box, double scale) -> std::unique_ptr<Parameter> {
    const std::vector<std::string>& names = is_shared ? shared : own;
    if (names.empty()) return nullptr;
    const AxisSet& ranks = is_shared ? shared_ranks : own_ranks;
    std::vector<Slice> slices;
    for (const std::string& expert : names) {
      for (const std::string& tensor : tensors) {
        slices.push_back({.spec = {absl::StrCat(expert, ".", tensor), shape, box, ranks, ranks},
                          .offset = static_cast<int64_t>(slices.size()) * box.numel(),
                          .scale = scale});
      }
    }
    const std::vector<int64_t> storage{static_cast<int64_t>(names.size()),
                                       static_cast<int64_t>(tensors.size()) * box.extent[0], box.extent[1]};
    return std::make_unique<Parameter>(storage, context.options(), std::move(slices));
  };
  const std::vector<std::string> up_tensors =
      activation == Activation::kSwiglu ? std::vector<std::string>{"gate", "up"} : std::vector<std::string>{"up"};
  up_ = stack(sharing == ExpertSharing::kUp, up_tensors, {expert_width, width}, {{begin, 0}, {part, width}},
              context.init_scale);
  down_ = stack(sharing == ExpertSharing::kDown, {"down"}, {width, expert_width}, {{0, begin}, {width, part}},
                context.residual_init_scale);
}

Experts::Chunks Experts::begin_chunks(std::vector<at::Tensor>& begun) {
  const at::Tensor& first = begun.front();
  if (!at::GradMode::is_enabled() || local_experts_ == 0 || !first.requires_grad() || !first.is_cpu()) return {};
  Chunks chunks(new ExpertChunks{.block = block(), .factors = {}});
  begun = BeginChunks::apply(at::TensorList(begun), chunks);
  up_->recorded();
  down_->recorded();
  return chunks;
}

at::Tensor Experts::forward(const at::Tensor& rows_RD, std::span<const int64_t> counts, const Chunks& chunks) {
  SY_CHECK_EQ(static_cast<int64_t>(counts.size()), local_experts_);
  int64_t total = 0;
  for (const int64_t rows : counts) total += rows;
  SY_CHECK_EQ(rows_RD.size(0), total);
  // Without experts there are no rows: the empty result still leads back to the dispatch, whose backward is collective.
  if (local_experts_ == 0) return rows_RD;
  const at::Tensor x_RD = rows_RD.contiguous();
  if (!at::GradMode::is_enabled()) {
    return compute_block(block(), x_RD, counts, pre_activations(x_RD, up_->value().size(1), counts, /*keep=*/false));
  }
  if (!chunks) {
    up_->recorded();
    down_->recorded();
  }
  return ExpertsFunction::apply(x_RD, up_->value(), down_->value(), block(),
                                std::vector<int64_t>(counts.begin(), counts.end()), !recompute_, chunks);
}

ExpertBlock Experts::block() const {
  return {activation_, *up_, *down_, memory_};
}

ParameterList Experts::parameters() {
  ParameterList list;
  if (up_) list.push_back(up_.get());
  if (down_) list.push_back(down_.get());
  return list;
}

}  // namespace switchyard
