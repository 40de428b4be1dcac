#include "runtime/base/status.h"

#include <gtest/gtest.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

TEST(Status, CategorySurvivesAnnotation) {
  const absl::Status status = annotate(error(ErrorCategory::kBadConfig, "no such key"), "a.yaml");
  EXPECT_EQ(error_category(status), ErrorCategory::kBadConfig);
  EXPECT_EQ(status.message(), "a.yaml: no such key");
  EXPECT_TRUE(annotate(absl::OkStatus(), "a.yaml").ok());
}

TEST(Status, ForeignStatusIsInternal) {
  EXPECT_EQ(error_category(absl::UnknownError("?")), ErrorCategory::kInternal);
}

TEST(Status, ThrowsWithItsStatus) {
  try {
    throw_if_error(error(ErrorCategory::kIo, "disk full"));
    FAIL() << "nothing thrown";
  } catch (const StatusError& e) {
    EXPECT_EQ(error_category(e.status()), ErrorCategory::kIo);
    EXPECT_STREQ(e.what(), "disk full");
  }
}

TEST(Check, PrintsBothOperands) {
  try {
    SY_CHECK_EQ(1 + 1, 3);
    FAIL() << "nothing thrown";
  } catch (const CheckError& e) {
    EXPECT_NE(std::string(e.what()).find("(2 vs 3)"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace switchyard
