#include "launch/bench/expert_draw.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace switchyard {

// Gumbel's trick: the K largest of log-probability + noise.
at::Tensor draw_experts(int64_t tokens, int64_t experts, int64_t experts_per_token, double skew, uint64_t seed) {
  const at::Tensor log_E = at::arange(1, experts + 1, at::kDouble).log().mul(-skew);
  const at::Tensor noise_TE =
      at::rand({tokens, experts}, at::detail::createCPUGenerator(seed), at::kDouble).log().neg().log().neg();
  return std::get<1>((log_E + noise_TE).topk(experts_per_token));
}

}  // namespace switchyard
