// The `model.moe.router:` section.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

struct GateConfig {
  std::string kind = "linear";
  int64_t width = 128;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "how a token gets its logits: a linear map, or a network with one hidden layer")
        .one_of({"linear", "mlp"});
    v("width", width, "hidden width of an mlp").at_least(1);
  }
};

struct BalanceConfig {
  std::string over = "population";
  double importance_loss = 0;
  double entropy_loss = 0;
  double bias_rate = 0;
  double jitter = 0;
  bool force = false;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("over", over,
      "tokens that aux_loss balances: population, a part's over all ranks; sequence, each by itself; running, counts "
      "of "
      "the step's parts so far, which approximates the whole step")
        .one_of({"population", "sequence", "running"});
    v("importance_loss", importance_loss, "coefficient of the squared variation of experts' summed weights")
        .at_least(0);
    v("entropy_loss", entropy_loss, "coefficient of the entropy of a token's probabilities").at_least(0);
    v("bias_rate", bias_rate, "step by which a bias on each expert's score evens out loads without a loss; 0: no bias")
        .at_least(0);
    v("jitter", jitter, "the gate's input is multiplied by 1 ± this in training").at_least(0).below(1);
    v("force", force, "spread tokens evenly whatever the gate says; only to measure speed");
  }
};

struct CapacityConfig {
  double factor = 0;
  std::string drop = "score";
  bool pad = false;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("factor", factor, "an expert takes at most this many times its even share of a part; none: whatever comes")
        .at_least(0)
        .zero_is("none");
    v("drop", drop, "who stays where too many come: the highest weights, the first positions, or drawn at random")
        .one_of({"score", "position", "random"});
    v("pad", pad, "fill every expert's rows up to its capacity");
  }
};

struct BayesianConfig {
  int64_t clusters = 8;
  std::string explore = "thompson";
  double strength = 1;
  double prior = 1;
  double forgetting = 0.99;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("clusters", clusters, "of inputs, each with its own belief about every expert").at_least(1);
    v("explore", explore, "in training: thompson, chances drawn from the posterior; ucb, upper bounds; none, its mean")
        .one_of({"thompson", "ucb", "none"});
    v("strength", strength, "ucb: standard deviations above the mean").at_least(0);
    v("prior", prior, "good and bad outcomes that are believed in before any").above(0);
    v("forgetting", forgetting, "factor on old outcomes at each step").above(0).at_most(1);
  }
  bool operator==(const BayesianConfig&) const = default;
};

struct RouterConfig {
  std::string kind = "softmax";
  bool renormalise = true;
  bool top_k_first = false;
  double scale = 1;
  double aux_loss = 0.01;
  double z_loss = 0.001;
  int64_t groups = 1;
  int64_t groups_per_token = 1;
  double probability = 0.5;
  int64_t iterations = 8;
  double load_loss = 0.01;
  std::string table = "modulo";
  std::string combination = "weighted";
  int64_t labels = 1;
  double label_loss = 0.1;
  GateConfig gate;
  BalanceConfig balance;
  CapacityConfig capacity;
  BayesianConfig bayesian;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "how experts are chosen; the README's table has each")
        .one_of({"softmax", "sigmoid", "noisy_top_k", "top_p", "expert_choice", "sinkhorn", "hash", "supervised",
                 "bayesian", "dense"});
    v("renormalise", renormalise, "divide a token's weights by their sum");
    v("top_k_first", top_k_first, "softmax: over the chosen experts alone");
    v("scale", scale, "factor on the weights").above(0);
    v("aux_loss", aux_loss, "coefficient of the load-balance loss").at_least(0);
    v("z_loss", z_loss, "coefficient of the squared log-sum-exp of the router's logits").at_least(0);
    v("groups", groups, "sigmoid: equal groups of experts").at_least(1);
    v("groups_per_token", groups_per_token, "sigmoid: groups that a token's experts come from").at_least(1);
    v("probability", probability, "top_p: experts are taken until their probabilities add up to this")
        .above(0)
        .below(1);
    v("iterations", iterations, "sinkhorn: normalisations of rows and columns").at_least(1);
    v("load_loss", load_loss, "noisy_top_k: coefficient of the squared variation of the expected load").at_least(0);
    v("table", table, "hash: experts of a token id, by its remainder or drawn").one_of({"modulo", "random"});
    v("combination", combination,
      "dense: of experts; linear: one learned coefficient each; weighted: a linear gate's softmax; neural: an mlp "
      "gate's")
        .one_of({"linear", "weighted", "neural"});
    v("labels", labels, "supervised: number of tags; tag i owns experts [i·E/labels, (i+1)·E/labels)").at_least(1);
    v("label_loss", label_loss, "supervised: coefficient of the cross-entropy of a token's tag").at_least(0);
    v.section("gate", gate, "what gives each token a logit for each expert");
    v.section("balance", balance, "keeping experts in use");
    v.section("capacity", capacity, "a limit on the tokens of an expert");
    v.section("bayesian", bayesian, "kind bayesian: beliefs about experts");
  }

  // Whether a gate's logits are there to be chosen from and balanced.
  bool has_gate() const { return kind != "hash" && !(kind == "dense" && combination == "linear"); }
  // How many times its even share of a part an expert takes at most; 0: whatever comes.
  double limit_factor() const { return kind == "expert_choice" ? 1 : capacity.factor; }
  // kBadConfig with the reason where the keys make no sense together or with so many experts.
  absl::Status validate_for(int64_t experts, int64_t experts_per_token) const;
};

// ⌊factor·population·K/E⌋; kBadConfig where that is zero.
absl::StatusOr<int64_t> slots_per_expert(double factor, int64_t population, int64_t experts_per_token, int64_t experts);

}  // namespace switchyard
