// The balance losses that any router with a gate may have. E experts, T tokens of the population, p the router's
// probabilities, slots as chosen.
#pragma once

#include <memory>
#include <string>

#include "layers/moe/router/balance/balance_term.h"

namespace switchyard {

// E · Σ_e f_e·P_e (Fedus et al., "Switch Transformers", 2021): f_e the share of the slots that went to expert e, P_e
// its mean probability; f takes no gradient. `over`:
// - "population": both over the part's tokens;
// - "sequence": over each sequence, and the mean over sequences (DeepSeek-V3);
// - "running": f over this part and the step's earlier ones. What all parts together would give is not known before
//   the last one, so that this is an approximation of it, and equal to it with one part.
std::unique_ptr<BalanceTerm> make_load_balance(double coefficient, const std::string& over, int64_t experts);

// Mean over tokens of (log Σ_e exp logit_e)² (Zoph et al., "ST-MoE", 2022).
std::unique_ptr<BalanceTerm> make_z_loss(double coefficient);

// The squared coefficient of variation over experts of Σ_t weight_te (Shazeer et al., 2017).
std::unique_ptr<BalanceTerm> make_importance(double coefficient);

// Mean over tokens of the entropy −Σ_e p·log p: keeps top_p from taking ever more experts (Huang et al., 2024).
std::unique_ptr<BalanceTerm> make_entropy(double coefficient);

// Population variance over squared mean, a scalar; of all zeros: 0.
at::Tensor squared_variation(const at::Tensor& values_E);

}  // namespace switchyard
