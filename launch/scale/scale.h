// A scaling experiment: the same training on several numbers of ranks, side by side.
#pragma once

#include <functional>
#include <ostream>

#include <absl/status/status.h>

#include "launch/scale/plan.h"

namespace switchyard {

// In one process, which starts the jobs. Writes scale.txt (also to `out`), scale.json and scale.html into the output
// folder, of what was measured, whatever else happens. Every run is tried, then the first that failed is returned, with
// its job's category; kStoppedEarly at once where `stop_requested`; kInternal where losses do not agree (check_losses);
// the errors of find_site and plan_runs before anything is started.
absl::Status scale(const ScaleOptions& options, std::ostream& out, bool terminal,
                   const std::function<bool()>& stop_requested);

}  // namespace switchyard
