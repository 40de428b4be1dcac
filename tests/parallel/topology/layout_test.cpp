// Which layouts resolve_mesh accepts, what it makes of them, and what it says of the others.
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>

#include "parallel/topology/mesh.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;

std::string refusal(const ParallelConfig& config, int ranks, int64_t heads = 8, int64_t kv_heads = 4) {
  const auto shape = resolve_mesh(config, ranks, heads, kv_heads);
  if (shape.ok()) return "accepted";
  EXPECT_EQ(error_category(shape.status()), ErrorCategory::kBadConfig);
  return std::string(shape.status().message());
}

TEST(Layout, DataAndExpertDataTakeWhatTheOthersLeave) {
  const auto shape = resolve_mesh({.tensor = 2, .expert = 3, .expert_tensor = 2}, 12, 8, 4);
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->data, 6);
  EXPECT_EQ(shape->tensor, 2);
  EXPECT_EQ(shape->expert_data, 2);
  EXPECT_EQ(shape->ranks(), 12);
  EXPECT_EQ(shape->kv_replica, 1);
}

TEST(Layout, TensorBeyondKvHeadsMakesReplicas) {
  const auto shape = resolve_mesh({.tensor = 8}, 8, 8, 2);
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->kv_replica, 4);
  EXPECT_EQ(resolve_mesh({.tensor = 4}, 8, 8, 1)->kv_replica, 4);
  EXPECT_EQ(resolve_mesh({.tensor = 4}, 8, 8, 0)->kv_replica, 1);
}

TEST(Layout, AnExplicitDataIsKept) {
  const auto shape = resolve_mesh({.data = 3, .tensor = 2}, 6, 8, 4);
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->data, 3);
}

TEST(Layout, RefusalsGiveSizesRuleAndWhatWorks) {
  EXPECT_EQ(refusal({.tensor = 3}, 6), "parallel.tensor=3 does not divide heads=8; with 6 ranks these work: 1, 2");
  EXPECT_EQ(refusal({.tensor = 4}, 6), "parallel.tensor=4 does not divide ranks=6; with 6 ranks these work: 1, 2");
  EXPECT_EQ(refusal({.tensor = 2}, 6, 6, 3),
            "parallel.tensor=2 neither divides kv_heads=3 nor is a multiple of it; with 6 ranks these work: 1, 3, 6");
  EXPECT_EQ(refusal({.data = 3, .tensor = 2}, 4),
            "parallel.data=3 · parallel.tensor=2 do not make ranks=4; with tensor=2 this works: data=2 (or auto)");
  EXPECT_EQ(refusal({.expert = 4}, 6), "parallel.expert=4 does not divide data·tensor=6 ranks; these work: 1, 2, 3, 6");
  EXPECT_EQ(refusal({.expert = 2, .expert_tensor = 2}, 6),
            "parallel.expert=2 · parallel.expert_tensor=2 do not divide data·tensor=6 ranks; with expert=2 these "
            "values of expert_tensor work: 1, 3");
  EXPECT_THAT(refusal({.tensor = 0}, 4), HasSubstr("parallel.tensor=0 must be at least 1"));
  EXPECT_THAT(refusal({.data = -1}, 4), HasSubstr("parallel.data=-1"));
}

// Whatever the message advises is accepted, and nothing else is.
TEST(Layout, AdviceIsExact) {
  for (int ranks = 1; ranks <= 12; ++ranks) {
    const std::string message = refusal({.tensor = ranks + 1}, ranks, 12, 6);
    for (int tensor = 1; tensor <= ranks; ++tensor) {
      const std::string list = absl::StrCat(message.substr(message.find("these work: ") + 11), ",");
      const bool advised = list.find(absl::StrCat(" ", tensor, ",")) != std::string::npos;
      EXPECT_EQ(advised, resolve_mesh({.tensor = tensor}, ranks, 12, 6).ok()) << ranks << " " << tensor << message;
    }
  }
}

}  // namespace
}  // namespace switchyard
