#include "launch/cli/report.h"

#include <new>
#include <stdexcept>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

template <typename Function>
absl::Status status_thrown_by(Function function) {
  try {
    function();
  } catch (...) {
    return status_of(std::current_exception());
  }
  return absl::OkStatus();
}

TEST(Report, ExceptionsBecomeCategories) {
  const auto category = [](auto function) { return error_category(status_thrown_by(function)); };
  EXPECT_EQ(category([] { throw_if_error(error(ErrorCategory::kCommunication, "lost")); }),
            ErrorCategory::kCommunication);
  EXPECT_EQ(category([] { throw std::bad_alloc(); }), ErrorCategory::kOutOfMemory);
  EXPECT_EQ(category([] { SY_CHECK_EQ(1, 2); }), ErrorCategory::kInternal);
  EXPECT_EQ(category([] { throw std::runtime_error("x"); }), ErrorCategory::kInternal);
  EXPECT_EQ(category([] { throw 3; }), ErrorCategory::kInternal);
  EXPECT_EQ(category([] { at::zeros({2}).add_(at::zeros({3})); }), ErrorCategory::kInternal);
}

TEST(Report, AFailedTensorAllocationSaysWhatToDo) {
  // More than the address space has.
  const absl::Status status = status_thrown_by([] { EXPECT_EQ(at::empty({int64_t{1} << 50}, at::kByte).numel(), 0); });
  EXPECT_EQ(error_category(status), ErrorCategory::kOutOfMemory);
  const std::string message(status.message());
  EXPECT_THAT(message, testing::StartsWith("out of memory: "));
  EXPECT_THAT(message, HasSubstr("train.recompute=activation"));
  EXPECT_THAT(message, HasSubstr("1125899906842624"));  // the bytes asked for, in the detail
}

TEST(Report, TheFirstLineSaysWhoAndWhat) {
  EXPECT_EQ(error_report(error(ErrorCategory::kIo, "disk full\ndetail"), "rank 1 of 2 on a"),
            "switchyard: error: rank 1 of 2 on a: disk full\ndetail\n");
  EXPECT_EQ(error_report(error(ErrorCategory::kIo, "disk full"), ""), "switchyard: error: disk full\n");
  EXPECT_EQ(error_report(error(ErrorCategory::kStoppedEarly, "saved step 3"), ""), "switchyard: saved step 3\n");
}

TEST(Report, ExitCodesAreTheCategories) {
  EXPECT_EQ(exit_code(absl::OkStatus()), 0);
  EXPECT_EQ(exit_code(error(ErrorCategory::kBadConfig, "x")), 78);
  EXPECT_EQ(exit_code(absl::InternalError("from elsewhere")), 70);
}

}  // namespace
}  // namespace switchyard
