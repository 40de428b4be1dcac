// Timing over ranks, for benchmarks.
#pragma once

#include <iostream>

#include <ATen/ATen.h>
#include <absl/time/clock.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Of the slowest rank. Collective.
template <typename Body>
double seconds_of(Communicator& world, const Body& body) {
  throw_if_error(world.barrier().wait());
  const absl::Time start = absl::Now();
  body();
  at::Tensor seconds = at::full({1}, absl::ToDoubleSeconds(absl::Now() - start), at::kDouble);
  throw_if_error(world.all_reduce(seconds, ReduceOp::kMax).wait());
  return seconds.item<double>();
}

// One line, on rank 0.
inline void print(const Communicator& world, const nlohmann::json& line) {
  if (world.rank() == 0) std::cout << line.dump() << std::endl;
}

}  // namespace switchyard
