#include "layers/moe/router/softmax_top_k_device.h"

#include <ATen/ATen.h>

#include "layers/moe/router/softmax_top_k_cuda.h"
#include "parallel/dispatch/permute_cuda.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard::on_device {
namespace {

CudaTopK shape_of(const at::Tensor& values_TE, int64_t experts_per_token, bool renormalise) {
  return {element_of(values_TE.scalar_type()), values_TE.size(0), values_TE.size(1), experts_per_token, renormalise};
}

// What the losses need of the tokens, in one message to the host: [slots | probability sums | squared log sums |
// entropies].
at::Tensor sums_on_host(const TopK& chosen, const at::Tensor& probabilities_TE, const at::Tensor& entropies_T) {
  const int64_t slots = chosen.experts_N.numel(), experts = probabilities_TE.size(1);
  const auto options = chosen.experts_N.options();
  const at::Tensor chunk_starts = at::empty({slot_chunks(slots), experts}, options);
  const at::Tensor counts_E = at::empty({experts}, options);
  count_slots_cuda(slots, experts, chosen.experts_N.const_data_ptr<int64_t>(), chunk_starts.data_ptr<int64_t>(),
                   counts_E.data_ptr<int64_t>(), current_cuda_stream());
  const at::Tensor log_sums_T = chosen.log_sums_T.to(at::kDouble);
  return at::cat({counts_E.to(at::kDouble), probabilities_TE.sum(0, false, at::kDouble),
                  at::dot(log_sums_T, log_sums_T).view({1}), entropies_T.sum(0, true, at::kDouble)})
      .cpu();
}

}  // namespace

TopK softmax_top_k(const at::Tensor& logits_TE, const at::Tensor& probabilities_TE, int64_t experts_per_token,
                   bool renormalise, const at::Tensor& given_N) {
  const int64_t tokens = logits_TE.size(0), experts = logits_TE.size(1);
  SY_CHECK_LE(experts_per_token, experts);
  TopK chosen;
  const auto ids = logits_TE.options().dtype(at::kLong);
  chosen.experts_N = given_N.defined() ? given_N.to(ids).contiguous() : at::empty({tokens * experts_per_token}, ids);
  SY_CHECK_EQ(chosen.experts_N.numel(), tokens * experts_per_token);
  chosen.weights_N = at::empty({tokens * experts_per_token}, logits_TE.options());
  chosen.log_sums_T = at::empty({tokens}, logits_TE.options());
  const at::Tensor entropies_T = at::empty({tokens}, logits_TE.options());
  softmax_top_k_cuda(shape_of(logits_TE, experts_per_token, renormalise), given_N.defined(), logits_TE.const_data_ptr(),
                     probabilities_TE.const_data_ptr(), chosen.experts_N.data_ptr<int64_t>(),
                     chosen.weights_N.data_ptr(), chosen.log_sums_T.data_ptr(), entropies_T.data_ptr(),
                     current_cuda_stream());
  const at::Tensor sums = sums_on_host(chosen, probabilities_TE, entropies_T);
  const double* data = sums.const_data_ptr<double>();
  chosen.slots.assign(data, data + experts);
  chosen.probability_sums.assign(data + experts, data + 2 * experts);
  chosen.squared_log_sums = data[2 * experts];
  chosen.entropies = data[2 * experts + 1];
  return chosen;
}

at::Tensor softmax_top_k_backward(const at::Tensor& probabilities_TE, const TopK& chosen, bool renormalise,
                                  const at::Tensor& weight_gradients_N,
                                  const std::vector<double>& probability_gradients, double z_factor) {
  const int64_t tokens = probabilities_TE.size(0);
  const int64_t k = tokens == 0 ? 0 : chosen.experts_N.numel() / tokens;
  const at::Tensor common_E = at::tensor(probability_gradients, at::kDouble).to(probabilities_TE.options());
  at::Tensor gradients_TE = at::empty(probabilities_TE.sizes(), probabilities_TE.options());
  softmax_top_k_backward_cuda(shape_of(probabilities_TE, k, renormalise), probabilities_TE.const_data_ptr(),
                              chosen.experts_N.const_data_ptr<int64_t>(), chosen.weights_N.const_data_ptr(),
                              chosen.log_sums_T.const_data_ptr(), weight_gradients_N.const_data_ptr(),
                              common_E.const_data_ptr(), z_factor, gradients_TE.data_ptr(), current_cuda_stream());
  return gradients_TE;
}

}  // namespace switchyard::on_device
