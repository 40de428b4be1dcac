// A program for command_line_test: `failing_rank memory|alike`. memory: rank 1 cannot allocate while the others wait
// for it. alike: every rank fails by itself, without agreeing.
#include <string>

#include <ATen/ATen.h>

#include "launch/cli/run_ranks.h"
#include "runtime/base/status.h"

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  return switchyard::run_ranks(argc, argv, [&how](switchyard::MpiSession& session) {
    if (how == "alike") return switchyard::error(switchyard::ErrorCategory::kBadData, "the same everywhere");
    if (session.world().rank() == 1) at::empty({int64_t{1} << 50}, at::kByte).fill_(1);
    return session.world().barrier().wait();
  });
}
