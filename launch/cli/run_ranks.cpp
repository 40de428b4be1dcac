#include "launch/cli/run_ranks.h"

#include <cstdio>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <unistd.h>

#include "launch/cli/report.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/device/memory.h"

namespace switchyard {
namespace {

void tell(const absl::Status& status, const std::string& who) {
  std::fflush(stdout);
  std::fputs(error_report(status, who).c_str(), stderr);
  std::fflush(stderr);
}

// Whether every rank returned with this error. All ranks decide alike on signals and on divergence.
bool all_ranks_hold(const absl::Status& status, int ranks) {
  const ErrorCategory category = error_category(status);
  return ranks == 1 || is_agreed(status) || category == ErrorCategory::kStoppedEarly ||
         category == ErrorCategory::kDiverged;
}

std::string name_of(const Communicator& world) {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  return absl::StrCat("rank ", world.rank(), " of ", world.size(), " on ", host);
}

}  // namespace

int run_ranks(int argc, char** argv, const std::function<absl::Status(MpiSession&)>& command) {
  keep_freed_memory();
  const auto session = MpiSession::start(&argc, &argv);
  if (!session.ok()) {
    tell(session.status(), "");
    return exit_code(session.status());
  }
  const Communicator& world = (*session)->world();
  absl::Status status;
  try {
    status = command(**session);
  } catch (...) {
    status = status_of(std::current_exception());
  }
  if (status.ok()) return 0;
  if (all_ranks_hold(status, world.size())) {
    if (world.rank() == 0) tell(status, "");
    return exit_code(status);
  }
  // Peers often fail alike, and then one message is enough: rank 0 ends the job before the others speak.
  if (world.rank() != 0) absl::SleepFor(absl::Seconds(1));
  tell(status, name_of(world));
  (*session)->abort(exit_code(status));
}

}  // namespace switchyard
