#include "parallel/dispatch/trial.h"

#include <chrono>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/numerics/median.h"

namespace switchyard {

absl::StatusOr<double> trial_ms(const std::function<absl::Status()>& work, Communicator& world) {
  constexpr int kRepeats = 3;
  SY_RETURN_IF_ERROR(work());
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    SY_RETURN_IF_ERROR(world.barrier().wait());
    const auto start = std::chrono::steady_clock::now();
    SY_RETURN_IF_ERROR(work());
    SY_RETURN_IF_ERROR(world.barrier().wait());
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    SY_ASSIGN_OR_RETURN(times.emplace_back(), reduce_number(world, taken.count(), ReduceOp::kMax));
  }
  return median(std::move(times));
}

}  // namespace switchyard
