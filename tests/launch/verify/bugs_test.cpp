// Every bug that can be planted is found, and so are some that are not on the list.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/job_parts.h"
#include "launch/verify/model_faults.h"
#include "launch/verify/report.h"
#include "launch/verify/wire_faults.h"
#include "layers/moe/router/router_decorator.h"
#include "runtime/base/status.h"
#include "tests/launch/verify/small_verification.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

// Each with a layout that has what it needs: data, tensor and expert_data ranks, shared key and value heads, experts
// that are shared.
struct PlantedBug {
  std::string kind;
  Quantity found;  // the first that differs
};

const PlantedBug kBugs[] = {
    {"skip_reduction", Quantity::kGradients},
    {"skip_dense_reduction", Quantity::kGradients},
    {"mean_expert_gradients", Quantity::kGradients},
    {"forget_row_gradients", Quantity::kGradients},
    {"forget_shared_kv_gradients", Quantity::kGradients},
    {"round_gradients", Quantity::kGradients},
    {"skip_tensor_sum", Quantity::kChoices},
    {"skip_vocabulary_sum", Quantity::kLoss},
    {"aux_loss_per_rank", Quantity::kTokenCounts},
    {"local_norm", Quantity::kGradientNorm},
    {"stale_norm", Quantity::kGradientNorm},
    {"stale_shard", Quantity::kCopies},
    {"double_divisor", Quantity::kLoss},
    {"off_by_one_target", Quantity::kLoss},
    {"shift_batch", Quantity::kChoices},
    {"shift_random_stream", Quantity::kInitialMasters},
    {"shift_router_draws", Quantity::kWeights},
    {"swap_experts", Quantity::kLogits},
    {"drop_tokens", Quantity::kLogits},
    {"reorder_rows", Quantity::kLogits},
    {"scale_combine", Quantity::kLogits},
    {"detach_router", Quantity::kInputGradients},
    {"forget_expert_tensor_sum", Quantity::kLogits},
};

// 12 ranks: data 2 × tensor 6 (of 3 key and value heads), expert_data 2 × expert 3 × expert_tensor 2.
SmallVerification on_all_axes() {
  SmallVerification what;
  what.config.parallel = {.tensor = 6, .expert = 3, .expert_tensor = 2};
  what.config.model.moe.router.balance.jitter = 0.1;  // so that the router draws
  return what;
}
constexpr int kAllAxesRanks = 12;

Quantity first_difference(const VerifyResult& result) {
  Quantity first = Quantity::kCopies;
  for (const Row& row : result.rows) {
    if (!row.pass()) first = std::min(first, row.quantity);
  }
  return first;
}

class Bugs : public testing::TestWithParam<PlantedBug> {};

TEST_P(Bugs, AreFound) {
  SmallVerification what = on_all_axes();
  what.inject = GetParam().kind;
  const VerifyResult result = value_or_throw(what.run(kAllAxesRanks));
  EXPECT_FALSE(result.pass());
  EXPECT_EQ(quantity_name(first_difference(result)), std::string(quantity_name(GetParam().found))) << summary(result);
}

// Also where rounding is coarse, but for the two that are less than that.
TEST_P(Bugs, AreFoundInBf16) {
  SmallVerification what = on_all_axes();
  what.inject = GetParam().kind;
  what.config.train.precision = "bf16";
  const auto result = what.run(kAllAxesRanks);
  if (what.inject == "round_gradients" || what.inject == "scale_combine") {
    EXPECT_EQ(error_category(result.status()), ErrorCategory::kUsage);
    return;
  }
  EXPECT_FALSE(value_or_throw(result).pass()) << summary(*result);
}

INSTANTIATE_TEST_SUITE_P(Planted, Bugs, testing::ValuesIn(kBugs), [](const auto& test) { return test.param.kind; });

// The bugs that a router could hide, with one that draws and has a gate and a loss more.
TEST(Bugs, OfRoutersAreFoundWithAnotherKind) {
  for (const char* bug : {"aux_loss_per_rank", "shift_router_draws", "swap_experts", "drop_tokens", "scale_combine",
                          "detach_router", "forget_row_gradients"}) {
    SmallVerification what;
    what.use_router("noisy_top_k");
    what.config.parallel = {.tensor = 3, .expert = 3};
    what.steps = 1;
    what.inject = bug;
    EXPECT_FALSE(value_or_throw(what.run(3)).pass()) << bug;
  }
}

TEST(Bugs, AllKindsAreInTheTableAbove) {
  std::vector<std::string> known, tested;
  for (const BugKind& kind : bug_kinds()) known.push_back(kind.name);
  for (const PlantedBug& bug : kBugs) tested.push_back(bug.kind);
  EXPECT_THAT(tested, testing::UnorderedElementsAreArray(known));
  EXPECT_GE(known.size(), 12u);
}

TEST(Bugs, NoneIsSeenWhereThereIsNone) {
  const VerifyResult result = value_or_throw(on_all_axes().run(kAllAxesRanks));
  EXPECT_TRUE(result.pass()) << failures_of(result);
}

TEST(Bugs, ThatNeedWhatIsNotThereAreRefused) {
  SmallVerification what;
  what.inject = "skip_tensor_sum";
  const absl::Status status = what.run(2).status();
  EXPECT_EQ(error_category(status), ErrorCategory::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("needs parallel.tensor above 1"));
  what.inject = "stale_nrom";
  EXPECT_THAT(std::string(what.run(2).status().message()), HasSubstr("--inject list"));
  what.inject = "stale_norm";
  what.steps = 1;
  EXPECT_THAT(std::string(what.run(2).status().message()), HasSubstr("needs --steps 2"));
}

TEST(Bugs, ThatChangeNothingAreNotTakenForUnseenOnes) {
  SmallVerification what;
  what.config.data.sequence = 1;
  what.config.train.global_batch = 2;
  what.inject = "reorder_rows";  // one token a part: no expert has two rows
  const absl::Status status = what.run(2).status();
  EXPECT_EQ(error_category(status), ErrorCategory::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--inject reorder_rows changed nothing"));
  what.config.data.sequence = 7;
  EXPECT_GT(value_or_throw(what.run(2)).planted_changes, 0);
}

// Bugs that are not on the list.

// bf16 values are right; what the optimizer goes on from is not.
TEST(UnlistedBugs, MastersThatWereDrawnOtherwiseAreFound) {
  SmallVerification what;
  what.config.train.precision = "bf16";
  what.tamper = [](Injection& injection, int rank) {
    if (rank != 1) return;
    injection.initial = [](Job& job) { master_parts(job).back().data.mul_(1.00001); };
  };
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_EQ(first_difference(result), Quantity::kInitialMasters) << summary(result);
}

// AdamW's first update is the same for gradients of any size.
TEST(UnlistedBugs, AWrongClipFactorShowsInTheMoments) {
  SmallVerification what;
  what.inject = "local_norm";
  bool moments = false;
  for (const Row& row : value_or_throw(what.run(2)).rows) {
    moments |= row.quantity == Quantity::kMoments && !row.pass();
  }
  EXPECT_TRUE(moments);
}

TEST(UnlistedBugs, OneLostSlotIsFound) {
  SmallVerification what;
  what.config.parallel.expert = 2;
  what.tamper = [](Injection& injection, int rank) {
    if (rank != 1) return;
    injection.model.dispatcher = [](std::unique_ptr<Dispatcher> dispatcher) {
      return faulty_dispatcher(std::move(dispatcher), {.weights = [](const at::Tensor& weights) {
                                 at::Tensor mask = at::ones_like(weights);
                                 mask[0] = 0;
                                 return weights * mask;
                               }});
    };
  };
  EXPECT_FALSE(value_or_throw(what.run(2)).pass());
}

// Forward is right, backward is not.
TEST(UnlistedBugs, DetachedCombineWeightsAreFound) {
  SmallVerification what;
  what.config.parallel.expert = 2;
  what.tamper = [](Injection& injection, int) {
    injection.model.dispatcher = [](std::unique_ptr<Dispatcher> dispatcher) {
      return faulty_dispatcher(std::move(dispatcher), {.weights = [](const at::Tensor& weights) {
                                 return 0.5 * weights + 0.5 * weights.detach();
                               }});
    };
  };
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_EQ(first_difference(result), Quantity::kInputGradients) << summary(result);
}

std::function<void(Injection&, int)> around_routers(
    const std::function<std::unique_ptr<Router>(std::unique_ptr<Router>)>& wrap) {
  return [wrap](Injection& injection, int) { injection.model.router = wrap; };
}

// What routers keep beside parameters, by the tokens of a rank alone.
TEST(UnlistedBugs, APosteriorThatIsNotSummedIsFound) {
  SmallVerification what;
  what.use_router("bayesian");
  what.tamper = [](Injection& injection, int) {
    injection.wire = std::make_shared<UnsummedReduce>(injection.changes, "data+tensor/layer", "router/posterior.cpp");
  };
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_EQ(first_difference(result), Quantity::kRouterState) << summary(result);
}

class OwnLoadBias : public RouterDecorator {
 public:
  OwnLoadBias(std::unique_ptr<Router> router, int64_t experts, double rate)
      : RouterDecorator(std::move(router)), rate_(rate), slots_E_(at::zeros({experts}, at::kLong)) {}
  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = RouterDecorator::route(x_tD, context);
    slots_E_ += at::bincount(output.choice.experts, {}, slots_E_.size(0));
    return output;
  }
  void finish_step() override {
    const at::Tensor bias_E = buffers().front().value, before_E = bias_E.clone();
    RouterDecorator::finish_step();
    bias_E.copy_(before_E + rate_ * at::sign(slots_E_.sum() - slots_E_.size(0) * slots_E_).to(at::kFloat));
    slots_E_.zero_();
  }

 private:
  const double rate_;
  at::Tensor slots_E_;
};

SmallVerification with_bias(const char* kind) {
  SmallVerification what;
  what.use_router(kind);
  what.config.model.moe.router.balance.bias_rate = 0.01;
  return what;
}

TEST(UnlistedBugs, ABiasThatIsMovedByARanksOwnLoadIsFound) {
  for (const char* kind : {"softmax", "sigmoid"}) {
    SmallVerification what = with_bias(kind);
    const MoeConfig& moe = what.config.model.moe;
    what.tamper = around_routers([&](std::unique_ptr<Router> router) {
      return std::make_unique<OwnLoadBias>(std::move(router), moe.experts, moe.router.balance.bias_rate);
    });
    const VerifyResult result = value_or_throw(what.run(2));
    EXPECT_EQ(first_difference(result), Quantity::kRouterState) << kind << "\n" << summary(result);
  }
}

class UnfinishedRouter : public RouterDecorator {
 public:
  using RouterDecorator::RouterDecorator;
  void finish_step() override {}
};

TEST(UnlistedBugs, ABiasThatStaysWhereItIsIsFound) {
  SmallVerification what = with_bias("sigmoid");
  what.tamper = around_routers(
      [](std::unique_ptr<Router> router) { return std::make_unique<UnfinishedRouter>(std::move(router)); });
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_EQ(first_difference(result), Quantity::kRouterState) << summary(result);
}

// A sum in fp32 among doubles.
class NarrowSums : public WireFault {
 public:
  Work reduce_scatter(Communicator& wire, at::Tensor send, std::span<const int64_t> rows, at::Tensor recv,
                      Call call) override {
    const at::Tensor narrow = at::empty(recv.sizes(), at::kFloat);
    throw_if_error(wire.reduce_scatter(send.to(at::kFloat), rows, narrow, call).wait());
    recv.copy_(narrow);
    return {};
  }
};

TEST(UnlistedBugs, SumsInALowerPrecisionAreFound) {
  SmallVerification what;
  what.tamper = [](Injection& injection, int) { injection.wire = std::make_shared<NarrowSums>(); };
  const VerifyResult result = value_or_throw(what.run(2));
  EXPECT_EQ(first_difference(result), Quantity::kGradients) << summary(result);
}

}  // namespace
}  // namespace switchyard
