// Losses and routers are judged by what they were given, so that bf16 hides nothing of them.

#include "launch/verify/own_inputs.h"

#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/exchange_parts.h"
#include "launch/verify/model_faults.h"
#include "launch/verify/own_loss.h"
#include "launch/verify/plain_reference.h"
#include "launch/verify/report.h"
#include "launch/verify/token_sources.h"
#include "runtime/base/status.h"
#include "tests/launch/verify/small_verification.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

SmallVerification in_bf16() {
  SmallVerification what;
  what.config.train.precision = "bf16";
  what.config.parallel.expert = 2;
  return what;
}

// All that fails, and nothing else.
std::set<std::string> failing(const VerifyResult& result) {
  std::set<std::string> names;
  for (const Row& row : result.rows) {
    if (!row.pass()) names.insert(quantity_name(row.quantity));
  }
  return names;
}

std::set<std::string> failing_with(const std::function<void(Injection&, int rank)>& tamper) {
  SmallVerification what = in_bf16();
  what.tamper = tamper;
  return failing(value_or_throw(what.run(2)));
}

TEST(OwnInputs, SeeALossOverRowsInsteadOfTargets) {
  EXPECT_THAT(failing_with([](Injection& injection, int) {
                injection.batches = [](std::unique_ptr<SequenceSource> source) {
                  const int64_t S = source->sequence();
                  BatchFault fault{.targets = [S](int64_t) { return 6 * S; }};
                  return faulty_batches(std::move(source), fault);
                };
              }),
              testing::Contains("loss"));
}

TEST(OwnInputs, SeeOneWrongTarget) {
  EXPECT_THAT(failing_with([](Injection& injection, int rank) {
                if (rank == 0) return;
                injection.batches = [](std::unique_ptr<SequenceSource> source) {
                  BatchFault fault{.rows = [](const SequenceRows& rows, int64_t) {
                    if (rows.targets[0] >= 0) rows.targets[0] = rows.tokens[0];
                  }};
                  return faulty_batches(std::move(source), fault);
                };
              }),
              testing::Contains("loss"));
}

std::function<void(Injection&, int)> spoil_router(std::function<RouterOutput(RouterOutput)> spoil) {
  return [spoil](Injection& injection, int rank) {
    if (rank != 1) return;
    injection.model.router = [spoil](std::unique_ptr<Router> router) {
      return faulty_router(std::move(router), {.context = nullptr, .output = spoil});
    };
  };
}

TEST(OwnInputs, SeeAnAuxiliaryLossThatIsDifferentiatedOtherwise) {
  EXPECT_EQ(failing_with(spoil_router([](RouterOutput output) {
              output.auxiliary_loss = output.auxiliary_loss * 1.001;
              return output;
            })),
            std::set<std::string>{"auxiliary losses"});
}

TEST(OwnInputs, SeeRoutingWeightsThatAreALittleOff) {
  EXPECT_EQ(failing_with(spoil_router([](RouterOutput output) {
              output.routing.weights = output.routing.weights * 1.0001;
              return output;
            })),
            std::set<std::string>{"routing weights"});
}

TEST(OwnInputs, SeeDrawsOfOtherTokens) {
  SmallVerification what = in_bf16();
  what.config.model.moe.router.balance.jitter = 0.05;
  what.inject = "shift_router_draws";
  EXPECT_THAT(failing(value_or_throw(what.run(2))), testing::Contains("routing weights"));
}

TEST(OwnLoss, IsTheCrossEntropyOfSlicesOfTheVocabulary) {
  const at::Tensor logits = at::tensor({0.0, 1.0, 2.0, 3.0, 700.0, 0.0}, at::kDouble).view({2, 3});
  const at::Tensor targets = at::tensor({2, 1}, at::kLong);
  run_ranks(2, [&](Communicator& world) {
    const bool first = world.rank() == 0;
    const TensorPart mine = rows_part("logits", 0, 2, logits.narrow(1, first ? 0 : 1, first ? 1 : 2), first ? 0 : 1, 3);
    const OwnLoss own = value_or_throw(loss_of_logits(world, std::vector{mine}, targets));
    EXPECT_NEAR(own.loss, std::log(1 + std::exp(-1) + std::exp(-2)), 1e-15);
    const OwnLoss one = value_or_throw(loss_of_logits(world, std::vector{mine}, at::tensor({-1, 0}, at::kLong)));
    EXPECT_NEAR(one.loss, 697, 1e-12);
    EXPECT_NEAR(one.terms, 703, 1e-12);
  });
}

// What the source says of its targets is what the layout divides by: the reference counts for itself.
TEST(PlainReference, CountsTargetsItself) {
  const SmallVerification what;
  const auto gradients = [&](int64_t factor) {
    at::Tensor head;
    run_ranks(1, [&](Communicator& world) {
      auto source =
          faulty_batches(random_documents(7, what.vocabulary, 0, 1),
                         {.sequence = nullptr, .rows = nullptr, .targets = [factor](int64_t n) { return factor * n; }});
      auto batches = std::make_unique<BatchLoader>(
          std::move(source), BatchLoader::Options{.global_batch = 6, .accumulation = 2, .data = {}});
      RunConfig config = what.config;
      config.model.moe.experts = 0;
      PlainReference reference(config, what.vocabulary, std::move(batches), 0, nullptr, world);
      for (const TensorPart& part : value_or_throw(reference.run(0, Choices(2))).gradients) {
        if (part.name == "head") head = part.data.clone();
      }
    });
    return head;
  };
  EXPECT_TRUE(at::equal(gradients(1), gradients(3)));
}

}  // namespace
}  // namespace switchyard
