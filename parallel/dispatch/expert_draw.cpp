#include "parallel/dispatch/expert_draw.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "runtime/numerics/precision.h"

namespace switchyard {

// Gumbel's trick: the K largest of log-probability + noise.
at::Tensor draw_experts(int64_t tokens, int64_t experts, int64_t experts_per_token, double skew, uint64_t seed) {
  const at::Tensor log_E = at::arange(1, experts + 1, at::kDouble).log().mul(-skew);
  const at::Tensor noise_TE =
      at::rand({tokens, experts}, at::detail::createCPUGenerator(seed), at::kDouble).log().neg().log().neg();
  return std::get<1>((log_E + noise_TE).topk(experts_per_token));
}

Routing routing_to(const at::Tensor& experts_TK, const at::TensorOptions& tokens) {
  const int64_t slots = experts_TK.numel(), k = experts_TK.size(1);
  const at::ScalarType of_weights = accumulate_dtype(c10::typeMetaToScalarType(tokens.dtype()));
  return {.offsets = at::arange(0, slots + 1, k, tokens.dtype(at::kLong)),
          .experts = experts_TK.reshape({-1}).to(tokens.device()),
          .weights = at::ones({slots}, tokens.dtype(of_weights))};
}

}  // namespace switchyard
