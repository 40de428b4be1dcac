#include "launch/cli/report.h"

#include <new>

#include <absl/strings/str_cat.h>
#include <c10/util/Exception.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

absl::Status out_of_memory(const std::string& detail) {
  return error(
      ErrorCategory::kOutOfMemory,
      absl::StrCat("out of memory: set train.recompute=activation or layer, raise train.accumulation, spread the "
                   "model over more ranks (parallel.expert, parallel.tensor), or shrink data.sequence or model.width\n",
                   detail));
}

bool is_allocation_failure(const c10::Error& failure) {
  // The host's allocator throws a plain c10::Error.
  return dynamic_cast<const c10::OutOfMemoryError*>(&failure) != nullptr ||
         std::string(failure.what_without_backtrace()).find("DefaultCPUAllocator") != std::string::npos;
}

}  // namespace

absl::Status status_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const StatusError& failure) {
    return failure.status();
  } catch (const std::bad_alloc&) {
    return out_of_memory("an allocation of host memory failed");
  } catch (const c10::Error& failure) {
    if (is_allocation_failure(failure)) return out_of_memory(failure.what_without_backtrace());
    return error(ErrorCategory::kInternal, absl::StrCat("internal error\n", failure.what()));
  } catch (const std::exception& failure) {
    return error(ErrorCategory::kInternal, absl::StrCat("internal error: ", failure.what()));
  } catch (...) {
    return error(ErrorCategory::kInternal, "internal error: an unknown exception");
  }
}

std::string error_report(const absl::Status& status, const std::string& who) {
  const bool failed = error_category(status) != ErrorCategory::kStoppedEarly;
  return absl::StrCat("switchyard: ", failed ? "error: " : "", who, who.empty() ? "" : ": ", status.message(), "\n");
}

int exit_code(const absl::Status& status) {
  return status.ok() ? 0 : static_cast<int>(error_category(status));
}

}  // namespace switchyard
