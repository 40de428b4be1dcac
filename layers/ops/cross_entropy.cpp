#include "layers/ops/cross_entropy.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "layers/ops/cross_entropy_cuda.h"
#include "layers/ops/matmul.h"
#include "parallel/parameter/borrow.h"
#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/device/cuda.h"
#include "runtime/numerics/precision.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Over the whole vocabulary. The maximum and the sum stay apart: their logarithm together would lose what large logits
// leave of a number's digits.
struct RowStatistics {
  at::Tensor max_T;
  at::Tensor sums_2T;   // the two that follow
  at::Tensor sum_T;     // of exp(logit − max)
  at::Tensor target_T;  // the target's logit
};

CudaLogits on_device(const at::Tensor& logits_TV, const at::Tensor& targets_T, int64_t vocab_begin) {
  return {element_of(logits_TV.scalar_type()), logits_TV.size(0), logits_TV.size(1), vocab_begin, logits_TV.data_ptr(),
          targets_T.const_data_ptr<int64_t>()};
}

// Over this rank's slice, into the rows from `first` on.
void reduce_rows(const at::Tensor& logits_tV, const at::Tensor& targets_t, int64_t vocab_begin,
                 const RowStatistics& row, int64_t first) {
  const auto block = [&](const at::Tensor& all) { return all.narrow(0, first, logits_tV.size(0)); };
  const at::Tensor max_t = block(row.max_T), sum_t = block(row.sum_T), target_t = block(row.target_T);
  if (logits_tV.is_cuda()) {
    cross_entropy_rows_cuda(on_device(logits_tV, targets_t, vocab_begin), max_t.data_ptr(), sum_t.data_ptr(),
                            target_t.data_ptr(), current_cuda_stream());
    return;
  }
  cross_entropy_kernel::reduce_rows(logits_tV, targets_t, max_t, sum_t);
  cross_entropy_kernel::pick_targets(logits_tV, targets_t, vocab_begin, target_t);
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

RowStatistics empty_statistics(int64_t rows, const at::TensorOptions& of_logits) {
  const auto options = of_logits.dtype(accumulate_dtype(c10::typeMetaToScalarType(of_logits.dtype())));
  const at::Tensor sums_2T = at::empty({2, rows}, options);  // Σ exp, target logit: one message
  return {at::empty({rows}, options), sums_2T, sums_2T[0], sums_2T[1]};
}

// From a slice of the vocabulary to the whole.
void sum_over(Communicator& tensor, RowStatistics& row) {
  if (tensor.size() == 1) return;
  const at::Tensor global_max_T = row.max_T.clone();
  throw_if_error(tensor.all_reduce(global_max_T, ReduceOp::kMax).wait());
  row.sum_T.mul_((row.max_T - global_max_T).exp_());
  throw_if_error(tensor.all_reduce(row.sums_2T, ReduceOp::kSum).wait());
  row.max_T = global_max_T;
}

// body(begin, end) for at most `most` rows at a time, once where there are none.
template <typename Body>
void for_each_block(int64_t rows, int64_t most, Body&& body) {
  int64_t begin = 0;
  do {
    const int64_t end = std::min(begin + most, rows);
    body(begin, end);
    begin = end;
  } while (begin < rows);
}

// Rows of a block, in memory that the next one takes as well.
at::Tensor block_rows(const at::Tensor& memory, int64_t begin, int64_t end) {
  return memory.slice(0, 0, end - begin);
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  // `value` is weight->value(): an input only so that the loss is recorded when x needs no gradient.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TD, const at::Tensor& value_VD, Parameter* weight,
                            const at::Tensor& targets_T, const CrossEntropyOptions& options, bool keep,
                            Communicator* tensor) {
    const int64_t rows = x_TD.size(0), most = keep ? rows : std::min(rows, kLossBlockRows);
    const at::Tensor logits = at::empty({most, value_VD.size(0)}, x_TD.options());
    RowStatistics row = empty_statistics(rows, x_TD.options());
    for_each_block(rows, most, [&](int64_t begin, int64_t end) {
      const at::Tensor logits_tV = block_rows(logits, begin, end);
      in_span("head", [&] { matmul(logits_tV, x_TD.slice(0, begin, end), value_VD, {.transpose_b = true}); });
      if (options.observer) options.observer(logits_tV, begin);
      in_span("cross-entropy",
              [&] { reduce_rows(logits_tV, targets_T.slice(0, begin, end), options.vocab_begin, row, begin); });
    });
    in_span("cross-entropy", [&] { sum_over(*tensor, row); });
    ctx->save_for_backward({x_TD, targets_T, row.max_T, row.sum_T, keep ? logits : at::Tensor()});
    ctx->saved_data["weight"] = borrow(*weight);
    ctx->saved_data["vocab_begin"] = options.vocab_begin;
    ctx->saved_data["scale"] = options.scale;
    const auto [begin, end] = cut(rows, tensor->size(), tensor->rank());
    const at::Tensor loss_T = (row.sum_T.log() + (row.max_T - row.target_T)).masked_fill_(targets_T < 0, 0);
    return loss_T.slice(0, begin, end).sum(at::kDouble).mul_(options.scale).to(loss_T.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    SY_CHECK(ctx->saved_data.count("run") == 0);
    ctx->saved_data["run"] = true;
    Parameter& weight = borrowed<Parameter>(ctx->saved_data["weight"]);
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor x_TD = saved[0].detach();
    const bool kept = saved[4].defined();
    const int64_t rows = x_TD.size(0), most = kept ? rows : std::min(rows, kLossBlockRows);
    const int64_t vocab_begin = ctx->saved_data["vocab_begin"].toInt();
    const double factor = gradients[0].item<double>() * ctx->saved_data["scale"].toDouble();
    const at::Tensor logits = kept ? saved[4] : at::empty({most, weight.value().size(0)}, x_TD.options());
    const Parameter::Sum sum = weight.next_sum();
    const at::Tensor d_TD = ctx->needs_input_grad(0) ? at::empty_like(x_TD) : at::Tensor();
    for_each_block(rows, most, [&](int64_t begin, int64_t end) {
      const auto block = [&](const at::Tensor& all) { return all.slice(0, begin, end); };
      const at::Tensor g_tV = block_rows(logits, begin, end), x_tD = block(x_TD);
      if (!kept) in_span("head", [&] { matmul(g_tV, x_tD, weight.value(), {.transpose_b = true}); });
      in_span("cross-entropy backward",
              [&] { to_gradient(g_tV, block(saved[1]), vocab_begin, block(saved[2]), block(saved[3]), factor); });
      // The weight first: its reduction may start while dx is computed.
      matmul(sum.tensor, g_tV, x_tD, {.transpose_a = true, .accumulate = sum.add || begin > 0});
      if (end == rows) weight.accumulated();
      if (d_TD.defined()) matmul(block(d_TD), g_tV, weight.value());
    });
    return {d_TD, {}, {}, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& x_TD, Parameter& weight_VD, const at::Tensor& targets_T,
                                const CrossEntropyOptions& options, Communicator& tensor) {
  SY_CHECK(x_TD.is_contiguous());
  SY_CHECK(targets_T.is_contiguous());
  SY_CHECK_EQ(targets_T.numel(), x_TD.size(0));
  const bool recorded = at::GradMode::is_enabled();
  if (recorded) weight_VD.recorded();
  return LinearCrossEntropy::apply(x_TD, weight_VD.value(), &weight_VD, targets_T, options,
                                   recorded && !options.recompute, &tensor);
}

}  // namespace switchyard
