#include "parallel/optimizer/config.h"

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {

absl::Status OptimizerConfig::validate() const {
  if (betas.size() != 2) {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("optimizer.betas has ", betas.size(), " values; give two, such as [0.9, 0.95]"));
  }
  if (schedule.kind != "constant" && schedule.min_lr > lr) {
    return error(ErrorCategory::kBadConfig, absl::StrCat("optimizer.schedule.min_lr=", schedule.min_lr,
                                                         " is above optimizer.lr=", lr, "; lower it"));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
