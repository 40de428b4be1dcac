// The kinds of routers, one file each. Config keys are those of RouterConfig; T tokens of the population, E experts, K
// experts a token, p the softmax of the logits.
#pragma once

#include <memory>
#include <string>

#include "layers/build_context.h"
#include "layers/moe/config.h"
#include "layers/moe/router/rule.h"

namespace switchyard {

struct RuleContext {
  std::string name;  // of the router's tensors, e.g. "layers.3.moe.router"
  int64_t width;     // D
  const MoeConfig& config;
  const BuildContext& build;
  Communicator& population;
};

// The K most probable experts, each weighed by p, renormalised where the config says so, times scale (Shazeer et al.,
// 2017; Lepikhin et al., "GShard", 2020). With top_k_first the softmax is over the chosen experts alone.
std::unique_ptr<RoutingRule> make_softmax_rule(const RuleContext& context);

// DeepSeek-V3 (2024): scores are sigmoids of the logits; the choice is by score + bias (balance.bias_rate), among the
// groups_per_token groups whose two best experts add up to the most; weights are the chosen scores without bias,
// renormalised where the config says so, times scale. Balance losses see the scores divided by their sum.
std::unique_ptr<RoutingRule> make_sigmoid_rule(const RuleContext& context);

// Shazeer et al., "Outrageously large neural networks" (2017): in training the logits x·W get noise of standard
// deviation softplus(x·W_noise), W_noise being `<name>.noise` [E,D], zero at first; the K largest are chosen and
// weighed by a softmax over them. In evaluation there is no noise.
std::unique_ptr<RoutingRule> make_noisy_top_k_rule(const RuleContext& context);
// Its load loss: the squared variation of Σ_t P(e is among t's K were its own noise drawn anew), which has a gradient
// where the count has none. In evaluation, of the counts.
std::unique_ptr<BalanceTerm> make_load_loss(double coefficient, int64_t experts_per_token);

// The most probable experts until their probabilities add up to `probability`, at most K: K varies by token (Huang et
// al., "Harder tasks need more experts", 2024). Weights as softmax's.
std::unique_ptr<RoutingRule> make_top_p_rule(const RuleContext& context);

// Each expert takes its ⌊T·K/E⌋ best tokens (slots_in_part) by p, over all ranks, ties to the earlier token (Zhou et
// al., "Mixture-of-experts with expert choice routing", 2022). Whether a token is taken depends on all others of the
// part, those that follow it too: in a causal model training looks ahead, and what is generated token by token is
// routed differently from what was trained on.
std::unique_ptr<RoutingRule> make_expert_choice_rule(const RuleContext& context);

// In training top-K of the logits' exponentials after `iterations` rounds of scaling columns and rows to equal sums
// over the population, in evaluation of the logits (Clark et al., "Unified scaling laws for routed language models",
// 2022: S-BASE). Weights as softmax's. Ahead of time it sees all of the part, as expert_choice does.
std::unique_ptr<RoutingRule> make_sinkhorn_rule(const RuleContext& context);

// Experts by token id alone (Roller et al., "Hash layers for large sparse models", 2021), K that follow each other
// (modulo E) from id·K modulo E, or from one drawn for each id; weights 1/K, times scale. No parameters.
std::unique_ptr<RoutingRule> make_hash_rule(const RuleContext& context);

// Softmax routing with a teacher: tokens carry a label (TokenContext::tags; −1: none), and label l owns the experts
// [⌊l·E/labels⌋, ⌊(l+1)·E/labels⌋). The loss is the mean over labelled tokens of −log of the probability of the owned
// experts together; reported is routing_accuracy, the share of labelled tokens whose most probable expert is owned.
// route() throws kBadData on all ranks where a label is out of range.
std::unique_ptr<BalanceTerm> make_label_loss(double coefficient, int64_t labels, int64_t experts,
                                             const std::string& layer);

// Routing under uncertainty (posterior.h): the choice is the K largest p · chance, the chance that an expert serves the
// token's cluster well being drawn or an upper bound in training, and the posterior's mean in evaluation; weights are
// p · mean, renormalised where the config says so, times scale. Outcomes come with the weights' gradients in backward
// and are taken in by finish_step(). Reported: calibration_error of the step before.
std::unique_ptr<RoutingRule> make_bayesian_rule(const RuleContext& context);

// All experts, each weighed (Jacobs et al., "Adaptive mixtures of local experts", 1991): linear by a learned
// coefficient that is the same for all tokens, `<name>.coefficients` [E,1] over E, one at first; weighted by the
// softmax of a linear gate; neural by that of an mlp gate. Times scale.
std::unique_ptr<RoutingRule> make_dense_rule(const RuleContext& context);

}  // namespace switchyard
