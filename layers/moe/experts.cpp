#include "layers/moe/experts.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/grouped_matmul.h"
#include "layers/ops/matmul.h"
#include "parallel/parameter/borrow.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Block {
  Activation activation;
  Parameter& up;
  Parameter& down;
  const SharedMemory* memory;

  // For outputs and the rows' gradients: where ranks of this host can read them, if anywhere.
  at::Tensor room_like(const at::Tensor& rows_RD) const {
    return memory && rows_RD.is_cpu() ? memory->allocate(rows_RD.size(0), rows_RD.size(1), rows_RD.options())
                                      : at::empty(rows_RD.sizes(), rows_RD.options());
  }
};

// work(expert, first row, rows) for each expert that has rows.
template <typename Work>
void for_each_expert(std::span<const int64_t> counts, const Work& work) {
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) work(static_cast<int64_t>(e), first, counts[e]);
    first += counts[e];
  }
}

// Expert e's matrix; all have the same one where the stack has but one.
int64_t matrix_of(int64_t e, const at::Tensor& stacked) {
  return stacked.size(0) == 1 ? 0 : e;
}
at::Tensor of_expert(const at::Tensor& stacked, int64_t e) {
  return stacked[matrix_of(e, stacked)];
}

// The gradient of stacked matrices on its way: an expert's product is added to its matrix, or written where it is the
// first; a matrix that gets none in the end is zeroed.
class StackedSum {
 public:
  explicit StackedSum(Parameter& stacked) : sum_(stacked.next_sum()), begun_(sum_.tensor.size(0), sum_.add) {}

  void add_product(int64_t e, const at::Tensor& g_RM, const at::Tensor& x_RN) {
    const at::Tensor matrix = of_expert(sum_.tensor, e);
    std::vector<bool>::reference begun = begun_[matrix_of(e, sum_.tensor)];
    matmul(matrix, g_RM, x_RN, {.transpose_a = true, .accumulate = begun});
    begun = true;
  }
  void finish() {
    for (size_t e = 0; e < begun_.size(); ++e) {
      if (!begun_[e]) sum_.tensor[static_cast<int64_t>(e)].zero_();
    }
  }

 private:
  const Parameter::Sum sum_;
  std::vector<bool> begun_;
};

// Room for one expert's rows at a time, so that it stays in the cache.
at::Tensor scratch(std::span<const int64_t> counts, int64_t width, const at::Tensor& like) {
  return at::empty({*std::max_element(counts.begin(), counts.end()), width}, like.options());
}

// Whether it is too large to be found in a core's caches again.
bool streamed(const at::Tensor& result) {
  constexpr int64_t kBytes = 8 << 20;
  return static_cast<int64_t>(result.nbytes()) >= kBytes;
}

// On a device the whole block goes through each product at once: memory is wide, and launches are what costs.
at::Tensor compute_together(const Block& block, const at::Tensor& rows_RD, std::span<const int64_t> counts,
                            const at::Tensor& h_RP) {
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const at::Tensor activated_RF = at::empty({rows_RD.size(0), down_EDF.size(2)}, rows_RD.options());
  at::Tensor y_RD = at::empty(rows_RD.sizes(), rows_RD.options());
  grouped_matmul(h_RP, rows_RD, up_EPD, counts, /*transpose_w=*/true);
  activation_forward(block.activation, h_RP, activated_RF);
  grouped_matmul(y_RD, activated_RF, down_EDF, counts, /*transpose_w=*/true);
  return y_RD;
}

at::Tensor differentiate_together(const Block& block, const at::Tensor& rows_RD, at::Tensor h_RP,
                                  const at::Tensor& g_RD, std::span<const int64_t> counts, bool want_rows) {
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  if (!h_RP.defined()) {
    h_RP = at::empty({rows_RD.size(0), up_EPD.size(1)}, rows_RD.options());
    grouped_matmul(h_RP, rows_RD, up_EPD, counts, /*transpose_w=*/true);
  }
  const at::Tensor activated_RF = at::empty({rows_RD.size(0), down_EDF.size(2)}, rows_RD.options());
  const at::Tensor d_RP = at::empty(h_RP.sizes(), h_RP.options());
  grouped_matmul(activated_RF, g_RD, down_EDF, counts, /*transpose_w=*/false);
  activation_backward(block.activation, h_RP, activated_RF, d_RP, activated_RF);
  grouped_weight_gradient(block.down.gradient(), g_RD, activated_RF, counts);
  grouped_weight_gradient(block.up.gradient(), d_RP, rows_RD, counts);
  if (!want_rows) return {};
  at::Tensor d_RD = at::empty(rows_RD.sizes(), rows_RD.options());
  grouped_matmul(d_RD, d_RP, up_EPD, counts, /*transpose_w=*/false);
  return d_RD;
}

// Room for them: for all where they are kept, and on a device.
at::Tensor pre_activations(const at::Tensor& rows_RD, int64_t width, std::span<const int64_t> counts, bool keep) {
  return keep || rows_RD.is_cuda() ? at::empty({rows_RD.size(0), width}, rows_RD.options())
                                   : scratch(counts, width, rows_RD);
}

// y_RD, and the pre-activations in h_RP: all of them where it has R rows, else the last expert's.
at::Tensor compute(const Block& block, const at::Tensor& rows_RD, std::span<const int64_t> counts, at::Tensor h_RP) {
  if (rows_RD.is_cuda()) return compute_together(block, rows_RD, counts, h_RP);
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const at::Tensor activated = scratch(counts, down_EDF.size(2), rows_RD);
  const bool keep = h_RP.size(0) == rows_RD.size(0);
  at::Tensor y_RD = block.room_like(rows_RD);
  for_each_expert(counts, [&](int64_t e, int64_t first, int64_t rows) {
    const at::Tensor h = h_RP.narrow(0, keep ? first : 0, rows), a = activated.narrow(0, 0, rows);
    matmul(h, rows_RD.narrow(0, first, rows), of_expert(up_EPD, e), {.transpose_b = true});
    activation_forward(block.activation, h, a);
    matmul(y_RD.narrow(0, first, rows), a, of_expert(down_EDF, e), {.transpose_b = true, .passing = streamed(y_RD)});
  });
  return y_RD;
}

// The rows' gradient, undefined unless wanted; the weights' gradients are added in place. Pre-activations that are
// undefined are computed again.
at::Tensor differentiate(const Block& block, const at::Tensor& rows_RD, const at::Tensor& h_RP, const at::Tensor& g_RD,
                         std::span<const int64_t> counts, bool want_rows) {
  if (rows_RD.is_cuda()) return differentiate_together(block, rows_RD, h_RP, g_RD, counts, want_rows);
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const at::Tensor activated = scratch(counts, down_EDF.size(2), rows_RD);
  const at::Tensor gradient = scratch(counts, up_EPD.size(1), rows_RD);
  const at::Tensor again = h_RP.defined() ? at::Tensor() : scratch(counts, up_EPD.size(1), rows_RD);
  StackedSum down_sum(block.down), up_sum(block.up);
  at::Tensor d_RD;
  if (want_rows) d_RD = block.room_like(rows_RD);
  for_each_expert(counts, [&](int64_t e, int64_t first, int64_t rows) {
    const at::Tensor x = rows_RD.narrow(0, first, rows), g = g_RD.narrow(0, first, rows);
    const at::Tensor a = activated.narrow(0, 0, rows), d_h = gradient.narrow(0, 0, rows);
    const at::Tensor h = again.defined() ? again.narrow(0, 0, rows) : h_RP.narrow(0, first, rows);
    if (again.defined()) matmul(h, x, of_expert(up_EPD, e), {.transpose_b = true});
    matmul(a, g, of_expert(down_EDF, e));
    activation_backward(block.activation, h, a, d_h, a);
    down_sum.add_product(e, g, a);
    up_sum.add_product(e, d_h, x);
    if (want_rows) matmul(d_RD.narrow(0, first, rows), d_h, of_expert(up_EPD, e), {.passing = streamed(d_RD)});
  });
  down_sum.finish();
  up_sum.finish();
  return d_RD;
}

struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  // The weights' values are inputs only so that the block is recorded when the rows need no gradient.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RD, const at::Tensor& up_EPD,
                            const at::Tensor&, const Block& block, const std::vector<int64_t>& counts, bool keep) {
    const at::Tensor h_RP = pre_activations(rows_RD, up_EPD.size(1), counts, keep);
    // h is neither input nor output, so that it may be kept as it is.
    ctx->save_for_backward({rows_RD, keep ? h_RP : at::Tensor()});
    ctx->saved_data["counts"] = counts;
    ctx->saved_data["activation"] = static_cast<int64_t>(block.activation);
    ctx->saved_data["up"] = borrow(block.up);
    ctx->saved_data["down"] = borrow(block.down);
    if (block.memory) ctx->saved_data["memory"] = borrow(*block.memory);
    return compute(block, rows_RD, counts, h_RP);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto memory = ctx->saved_data.find("memory");
    const Block block{static_cast<Activation>(ctx->saved_data["activation"].toInt()),
                      borrowed<Parameter>(ctx->saved_data["up"]), borrowed<Parameter>(ctx->saved_data["down"]),
                      memory == ctx->saved_data.end() ? nullptr : &borrowed<const SharedMemory>(memory->second)};
    const std::vector<int64_t> counts = ctx->saved_data["counts"].toIntVector();
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor d_RD =
        differentiate(block, saved[0], saved[1], gradients[0].contiguous(), counts, ctx->needs_input_grad(0));
    block.down.accumulated();
    block.up.accumulated();
    variable_list result(6);
    result[0] = d_RD;
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

at::Tensor Experts::forward(const at::Tensor& rows_RD, std::span<const int64_t> counts) {
  SY_CHECK_EQ(static_cast<int64_t>(counts.size()), local_experts_);
  int64_t total = 0;
  for (const int64_t rows : counts) total += rows;
  SY_CHECK_EQ(rows_RD.size(0), total);
  // Without experts there are no rows: the empty result still leads back to the dispatch, whose backward is collective.
  if (local_experts_ == 0) return rows_RD;
  const at::Tensor x_RD = rows_RD.contiguous();
  const Block block{activation_, *up_, *down_, memory_};
  if (!at::GradMode::is_enabled()) {
    return compute(block, x_RD, counts, pre_activations(x_RD, up_->value().size(1), counts, /*keep=*/false));
  }
  up_->recorded();
  down_->recorded();
  return ExpertsFunction::apply(x_RD, up_->value(), down_->value(), block,
                                std::vector<int64_t>(counts.begin(), counts.end()), !recompute_);
}

ParameterList Experts::parameters() {
  ParameterList list;
  if (up_) list.push_back(up_.get());
  if (down_) list.push_back(down_.get());
  return list;
}

}  // namespace switchyard
