#include "layers/ops/cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/cross_entropy_cuda.h"
#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

// Over the whole vocabulary. The maximum and the sum stay apart: their logarithm together would lose what large logits
// leave of a number's digits.
struct RowStatistics {
  at::Tensor max_T;
  at::Tensor sum_T;     // of exp(logit − max)
  at::Tensor target_T;  // the target's logit
};

CudaLogits on_device(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin) {
  return {element_of(logits_TV.scalar_type()), logits_TV.size(0), logits_TV.size(1), vocab_begin, logits_TV.data_ptr(),
          targets_T.const_data_ptr<int64_t>()};
}

void reduce_rows(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin,
                 const RowStatistics& row) {
  if (logits_TV.is_cuda()) {
    cross_entropy_rows_cuda(on_device(logits_TV, targets_T, vocab_begin), row.max_T.data_ptr(), row.sum_T.data_ptr(),
                            row.target_T.data_ptr(), current_cuda_stream());
    return;
  }
  cross_entropy_kernel::reduce_rows(logits_TV, targets_T, row.max_T, row.sum_T);
  cross_entropy_kernel::pick_targets(logits_TV, targets_T, vocab_begin, row.target_T);
}

void to_gradient(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin, const at::Tensor& max_T,
                 const at::Tensor& sum_T, double factor) {
  if (logits_TV.is_cuda()) {
    cross_entropy_gradient_cuda(on_device(logits_TV, targets_T, vocab_begin), max_T.data_ptr(), sum_T.data_ptr(),
                                factor, current_cuda_stream());
    return;
  }
  cross_entropy_kernel::to_gradient(logits_TV, targets_T, vocab_begin, max_T, sum_T, factor);
}

RowStatistics row_statistics(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin,
                             Communicator& tensor) {
  const auto options = logits_TV.options().dtype(accumulate_dtype(logits_TV.scalar_type()));
  const at::Tensor max_T = at::empty({logits_TV.size(0)}, options);
  const at::Tensor sums_2T = at::empty({2, logits_TV.size(0)}, options);  // Σ exp, target logit: one message
  const at::Tensor sum_T = sums_2T[0], target_T = sums_2T[1];
  reduce_rows(logits_TV, targets_T, vocab_begin, {max_T, sum_T, target_T});
  if (tensor.size() == 1) return {max_T, sum_T, target_T};
  const at::Tensor global_max_T = max_T.clone();
  throw_if_error(tensor.all_reduce(global_max_T, ReduceOp::kMax).wait());
  sum_T.mul_((max_T - global_max_T).exp_());
  throw_if_error(tensor.all_reduce(sums_2T, ReduceOp::kSum).wait());
  return {global_max_T, sum_T, target_T};
}

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& logits_TV,
                            const at::Tensor& targets_T, int64_t vocab_begin, double scale, Communicator* tensor) {
    const RowStatistics row = row_statistics(logits_TV, targets_T, vocab_begin, *tensor);
    ctx->save_for_backward({logits_TV, targets_T, row.max_T, row.sum_T});
    ctx->saved_data["vocab_begin"] = vocab_begin;
    ctx->saved_data["scale"] = scale;
    const auto [begin, end] = cut(logits_TV.size(0), tensor->size(), tensor->rank());
    const at::Tensor loss_T = (row.sum_T.log() + (row.max_T - row.target_T)).masked_fill_(targets_T < 0, 0);
    return loss_T.slice(0, begin, end).sum(at::kDouble).mul_(scale).to(loss_T.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    SY_CHECK(ctx->saved_data.count("overwritten") == 0);
    ctx->saved_data["overwritten"] = true;
    const auto saved = ctx->get_saved_variables();
    const double factor = gradients[0].item<double>() * ctx->saved_data["scale"].toDouble();
    const at::Tensor logits_TV = saved[0].detach();
    to_gradient(logits_TV, saved[1], ctx->saved_data["vocab_begin"].toInt(), saved[2], saved[3], factor);
    return {logits_TV, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor cross_entropy(at::Tensor logits_TV, const at::Tensor& targets_T, int64_t vocab_begin, double scale,
                         Communicator& tensor) {
  SY_CHECK(logits_TV.is_contiguous());
  SY_CHECK(targets_T.is_contiguous());
  SY_CHECK_EQ(targets_T.numel(), logits_TV.size(0));
  return CrossEntropy::apply(logits_TV, targets_T, vocab_begin, scale, &tensor);
}

}  // namespace switchyard
