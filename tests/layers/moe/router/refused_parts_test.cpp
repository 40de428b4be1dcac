// Parts that a router can do nothing with fail on all ranks alike, and short ones of evaluation are none of these.
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/moe/router/make_router.h"
#include "parallel/parameter/initialise.h"
#include "runtime/base/status.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr int64_t kWidth = 6;
constexpr int64_t kTokens = 3;  // of each rank

// On each of three ranks what its router makes of a part, to which `change` gives what it is about.
void route_on_three(const MoeConfig& config, const std::function<void(TokenContext&, int rank)>& change,
                    const std::function<void(const absl::StatusOr<RouterOutput>&)>& check) {
  throw_if_error(config.validate());
  run_mesh(mesh_shape(3), [&](const Mesh& mesh) {
    const int rank = mesh.world().rank();
    const BuildContext build{.mesh = mesh, .dtype = at::kDouble, .init_scale = 1, .residual_init_scale = 1};
    const auto router = make_router("moe", kWidth, config, build);
    initialise_values(router->parameters(), 5);
    const at::Tensor x_tD =
        at::sin(at::arange(kTokens * kWidth, at::kDouble) * (1.3 + rank)).view({kTokens, kWidth}) * 2;
    TokenContext context{.tokens = at::arange(kTokens, at::kLong),
                         .tags = {},
                         .sequence = kTokens,
                         .first_token = rank * kTokens,
                         .population = 3 * kTokens};
    change(context, rank);
    check([&]() -> absl::StatusOr<RouterOutput> {
      try {
        return router->route(x_tD, context);
      } catch (const StatusError& e) {
        return e.status();
      }
    }());
  });
}

// Nine tokens for sixteen experts.
std::vector<MoeConfig> more_experts_than_tokens() {
  std::vector<MoeConfig> all(3, MoeConfig{.experts = 16, .experts_per_token = 1, .router = {}});
  all[0].router.kind = "expert_choice";
  all[0].router.aux_loss = 0;
  all[1].router.capacity = {.factor = 1.5, .drop = "score", .pad = true};
  all[2].router.capacity = {.factor = 1.5, .drop = "random"};
  return all;
}

TEST(RefusedParts, ExpertsTakeATokenOfAShortPartInEvaluation) {
  for (const MoeConfig& config : more_experts_than_tokens()) {
    SCOPED_TRACE(config.router.kind + config.router.capacity.drop);
    at::Tensor rows_E = at::zeros({16}, at::kLong);
    std::mutex mutex;
    route_on_three(
        config, [](TokenContext& context, int) { context.training = false; },
        [&](const absl::StatusOr<RouterOutput>& output) {
          ASSERT_TRUE(output.ok()) << output.status();
          const std::lock_guard lock(mutex);
          rows_E += at::bincount(output->routing.experts, {}, 16);
          EXPECT_EQ(output->rows_per_expert, config.router.capacity.pad ? 1 : 0);
        });
    EXPECT_EQ(rows_E.max().item<int64_t>(), 1);
    if (config.router.kind == "expert_choice") {
      EXPECT_EQ(rows_E.min().item<int64_t>(), 1);
    }
  }
}

TEST(RefusedParts, ACapacityThatRoundsToZeroFailsInTraining) {
  for (const MoeConfig& config : more_experts_than_tokens()) {
    MoeConfig tighter = config;
    if (config.router.capacity.factor > 0) tighter.router.capacity.factor = 1;
    route_on_three(
        tighter, [](TokenContext&, int) {},
        [](const absl::StatusOr<RouterOutput>& output) {
          EXPECT_EQ(error_category(output.status()), ErrorCategory::kBadConfig);
          EXPECT_THAT(std::string(output.status().message()), testing::HasSubstr("capacity rounds to zero: 1 · 9"));
        });
  }
}

TEST(RefusedParts, ATagThatIsNoLabelFailsOnAllRanks) {
  MoeConfig config{.experts = 4, .experts_per_token = 2, .router = {}};
  config.router.kind = "supervised";
  config.router.labels = 3;
  for (const int64_t tag : {-2, -1, 2, 3}) {
    for (const bool training : {true, false}) {
      const auto set_tags = [&](TokenContext& context, int rank) {
        context.training = training;
        context.tags = at::tensor({int64_t{0}, rank == 1 ? tag : 1, int64_t{-1}});
      };
      route_on_three(config, set_tags, [&](const absl::StatusOr<RouterOutput>& output) {
        if (tag == -1 || tag == 2) {
          EXPECT_TRUE(output.ok()) << output.status();
          return;
        }
        EXPECT_EQ(error_category(output.status()), ErrorCategory::kBadData);
        EXPECT_THAT(std::string(output.status().message()),
                    testing::HasSubstr("moe.router: 1 tokens of the part have tags outside [0, labels=3)"));
      });
    }
  }
}

}  // namespace
}  // namespace switchyard
