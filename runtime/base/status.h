// Errors: everything that can fail from outside is an absl::Status that carries a category; main turns the category
// into the exit code. Inside forward and backward a status travels as StatusError and is caught in train_step.
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace switchyard {

// The value is the process's exit code.
enum class ErrorCategory : int {
  kUsage = 64,
  kBadData = 65,
  kMissingInput = 66,
  kUnavailable = 69,
  kInternal = 70,
  kOutOfMemory = 71,
  kIo = 74,
  kStoppedEarly = 75,
  kCommunication = 76,
  kDiverged = 77,
  kBadConfig = 78,
};

// `message`: one line (what, where, what to do), optionally followed by lines of detail.
absl::Status error(ErrorCategory category, std::string_view message);

// The category of a status that is not ok; statuses made elsewhere count as kInternal.
ErrorCategory error_category(const absl::Status& status);

// `prefix: message`, with the category kept; ok stays ok.
absl::Status annotate(const absl::Status& status, std::string_view prefix);

class StatusError : public std::exception {
 public:
  explicit StatusError(absl::Status status);
  const absl::Status& status() const { return status_; }
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  absl::Status status_;
  std::string what_;
};

// Throws StatusError unless ok.
void throw_if_error(const absl::Status& status);

template <typename T>
T value_or_throw(absl::StatusOr<T> value) {
  throw_if_error(value.status());
  return *std::move(value);
}

}  // namespace switchyard

#define SY_CONCAT_INNER(a, b) a##b
#define SY_CONCAT(a, b) SY_CONCAT_INNER(a, b)

#define SY_RETURN_IF_ERROR(expression)     \
  do {                                     \
    absl::Status sy_status = (expression); \
    if (!sy_status.ok()) return sy_status; \
  } while (false)

// SY_ASSIGN_OR_RETURN(auto value, may_fail());
#define SY_ASSIGN_OR_RETURN(declaration, expression) \
  SY_ASSIGN_OR_RETURN_INNER(SY_CONCAT(sy_statusor_, __LINE__), declaration, expression)
#define SY_ASSIGN_OR_RETURN_INNER(name, declaration, expression) \
  auto name = (expression);                                      \
  if (!name.ok()) return std::move(name).status();               \
  declaration = *std::move(name)
