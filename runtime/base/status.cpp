#include "runtime/base/status.h"

#include <absl/strings/cord.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

namespace switchyard {
namespace {

constexpr char kPayloadUrl[] = "switchyard/error_category";

absl::StatusCode code_of(ErrorCategory category) {
  switch (category) {
    case ErrorCategory::kUsage:
    case ErrorCategory::kBadConfig:
      return absl::StatusCode::kInvalidArgument;
    case ErrorCategory::kBadData:
      return absl::StatusCode::kDataLoss;
    case ErrorCategory::kMissingInput:
      return absl::StatusCode::kNotFound;
    case ErrorCategory::kUnavailable:
    case ErrorCategory::kCommunication:
      return absl::StatusCode::kUnavailable;
    case ErrorCategory::kOutOfMemory:
      return absl::StatusCode::kResourceExhausted;
    case ErrorCategory::kStoppedEarly:
      return absl::StatusCode::kCancelled;
    case ErrorCategory::kInternal:
    case ErrorCategory::kIo:
    case ErrorCategory::kDiverged:
      return absl::StatusCode::kInternal;
  }
  return absl::StatusCode::kInternal;
}

}  // namespace

absl::Status error(ErrorCategory category, std::string_view message) {
  absl::Status status(code_of(category), absl::string_view(message.data(), message.size()));
  status.SetPayload(kPayloadUrl, absl::Cord(absl::StrCat(static_cast<int>(category))));
  return status;
}

ErrorCategory error_category(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  int value = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &value)) return ErrorCategory::kInternal;
  return static_cast<ErrorCategory>(value);
}

absl::Status annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  const std::string message = absl::StrCat(absl::string_view(prefix.data(), prefix.size()), ": ", status.message());
  return error(error_category(status), message);
}

StatusError::StatusError(absl::Status status) : status_(std::move(status)), what_(status_.message()) {}

void throw_if_error(const absl::Status& status) {
  if (!status.ok()) throw StatusError(status);
}

}  // namespace switchyard
