// The functions of softmax_top_k.h for tensors on a device.
#pragma once

#include "layers/moe/router/softmax_top_k.h"

namespace switchyard::on_device {

TopK softmax_top_k(const at::Tensor& logits_TE, const at::Tensor& probabilities_TE, int64_t experts_per_token,
                   bool renormalise, const at::Tensor& given_N);
at::Tensor softmax_top_k_backward(const at::Tensor& probabilities_TE, const TopK& chosen, bool renormalise,
                                  const at::Tensor& weight_gradients_N,
                                  const std::vector<double>& probability_gradients, double z_factor);

}  // namespace switchyard::on_device
