#include "parallel/dispatch/trial.h"

#include <utility>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"
#include "runtime/device/device.h"
#include "runtime/numerics/median.h"

namespace switchyard {

absl::StatusOr<std::vector<double>> try_out(const std::function<std::vector<double>()>& work, c10::Device device,
                                            Communicator& world) try {
  constexpr int kRepeats = 3;
  std::vector<std::vector<double>> times(work().size());
  for (int i = 0; i < kRepeats; ++i) {
    synchronise(device);
    SY_RETURN_IF_ERROR(world.barrier().wait());
    const std::vector<double> mine = work();
    for (size_t n = 0; n < mine.size(); ++n) {
      SY_ASSIGN_OR_RETURN(times[n].emplace_back(), reduce_number(world, mine[n], ReduceOp::kMax));
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& of_one : times) medians.push_back(median(std::move(of_one)));
  return medians;
} catch (const StatusError& failure) {
  return failure.status();
}

}  // namespace switchyard
