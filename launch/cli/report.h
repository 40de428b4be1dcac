// From errors to what the user sees; main alone turns them into exit codes.
#pragma once

#include <exception>
#include <string>

#include <absl/status/status.h>

namespace switchyard {

// StatusError keeps its status; failed allocations (host or device) become kOutOfMemory with what to do about them;
// everything else is kInternal.
absl::Status status_of(std::exception_ptr exception);

// "switchyard: error: <who: ><first line>", then the detail. `who` may be empty. A run that was asked to stop and saved
// its work (kStoppedEarly) is not called an error.
std::string error_report(const absl::Status& status, const std::string& who);

// 0 when ok, else the category's value.
int exit_code(const absl::Status& status);

}  // namespace switchyard
