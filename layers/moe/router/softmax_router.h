// Kind softmax where it is all that is asked for (has_fused_kernel), in one kernel each way: top-k of a softmax over
// all experts (Shazeer et al., 2017), with the load-balance loss of Switch Transformers (Fedus et al., 2021) and the
// z-loss of ST-MoE (Zoph et al., 2022). With f_e the share of the population's T·K slots that went to expert e and P_e
// its mean probability over the population's T tokens:
//   auxiliary loss = aux_loss · E · Σ_e f_e · P_e + z_loss · mean over tokens of (log Σ_e exp logit_e)²
// f_e counts and takes no gradient. Logits and everything after them are fp32 (fp64 under fp64): under bf16 the product
// of the bf16 activations and weights is taken and kept in fp32, forward and backward.
#pragma once

#include <memory>
#include <string>

#include "layers/build_context.h"
#include "layers/moe/config.h"
#include "layers/moe/router/router.h"

namespace switchyard {

class SoftmaxRouter : public Router {
 public:
  // The logical tensor `<name>.router` [E,D], replicated over the routing population, on which each rank sees its own
  // tokens only.
  SoftmaxRouter(const std::string& name, int64_t width, const MoeConfig& config, const BuildContext& context);

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override;
  ParameterList parameters() override { return {gate_.get()}; }
  void replay(Choice choice) override { replay_.set(std::move(choice)); }

 private:
  Communicator& population_;
  int64_t experts_per_token_;
  RouterConfig config_;
  std::unique_ptr<Parameter> gate_;
  Replay replay_;
};

}  // namespace switchyard
