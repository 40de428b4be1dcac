// Rows that lie over ranks, in rank order, on every rank: what is small enough for that.
#pragma once

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "launch/verify/router_log.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// mine: [n, …], n of any size. Collective over `world`. Errors: kCommunication.
absl::StatusOr<at::Tensor> gather_rows_of_all(Communicator& world, const at::Tensor& mine);
absl::StatusOr<Choice> gather_choice(Communicator& world, const Choice& mine);
// Inputs, choice and weights of the whole population; rank order is token order. The statistics are this rank's.
absl::StatusOr<Routed> gather_routed(Communicator& world, const Routed& mine);

}  // namespace switchyard
