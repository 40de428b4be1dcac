#include "launch/explain/choice_description.h"

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

std::string count_of(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

ChoiceDescription of_kind(const MoeConfig& config) {
  const RouterConfig& router = config.router;
  const std::string experts = count_of(config.experts_per_token, "expert");
  const auto highest = [&](const std::string& score, const std::string& meaning) {
    return ChoiceDescription{.how = absl::StrCat("Each token takes the ", experts, " of highest ", score, meaning),
                             .score = score};
  };
  const bool biased = router.balance.bias_rate > 0;
  const std::string bias = biased ? "; the bias of an expert evens out loads" : "";
  if (router.kind == "softmax") return highest(biased ? "probability + bias" : "probability", bias + ".");
  if (router.kind == "supervised") return highest("probability", "; labels taught the gate which are right.");
  if (router.kind == "sigmoid") {
    const std::string groups =
        router.groups_per_token < router.groups
            ? absl::StrCat(", within the ", router.groups_per_token, " best of ", router.groups, " groups")
            : "";
    return highest(biased ? "sigmoid + bias" : "sigmoid", absl::StrCat(groups, bias, "."));
  }
  if (router.kind == "noisy_top_k") return highest("logit", "; the noise is for training alone.");
  if (router.kind == "sinkhorn") return highest("logit", "; loads are evened out in training alone.");
  if (router.kind == "bayesian") {
    return highest("probability × chance",
                   ", the chance being the mean belief that the expert serves tokens of this "
                   "cluster well.");
  }
  if (router.kind == "top_p") {
    return {.how = absl::StrCat("Each token takes its most probable experts until their probabilities add up to ",
                                router.probability, ", at most ", config.experts_per_token, "."),
            .score = "probability"};
  }
  if (router.kind == "expert_choice") {
    return {.how =
                "Each expert takes the tokens of highest probability for it, as many as every other expert; a token "
                "may go to any number of experts, or to none.",
            .score = "probability",
            .experts_choose = true};
  }
  if (router.kind == "hash") {
    return {.how = absl::StrCat("The id of a token alone names its ", experts, ": nothing is compared."), .score = ""};
  }
  SY_CHECK_EQ(router.kind, "dense");
  return {.how = "All experts take every token; only their weights differ.", .score = ""};
}

std::string describe_capacity(const CapacityConfig& capacity) {
  const char* stays = capacity.drop == "score"      ? "those of the largest weights stay"
                      : capacity.drop == "position" ? "those of the first tokens stay"
                                                    : "which stay is drawn";
  return absl::StrCat(" An expert's slots beyond ", capacity.factor, " times an even share are dropped: ", stays, ".");
}

}  // namespace

ChoiceDescription describe_choice(const MoeConfig& config) {
  ChoiceDescription choice = of_kind(config);
  if (config.router.balance.force) {
    choice = {.how = "balance.force deals out the experts in turn, whatever the gate says.", .score = ""};
  }
  if (config.router.capacity.factor > 0) choice.how += describe_capacity(config.router.capacity);
  return choice;
}

}  // namespace switchyard
