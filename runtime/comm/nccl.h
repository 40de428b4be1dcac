// NCCL for one process: the communicator of device tensors. NCCL's own header stays behind this one; no_nccl.cpp takes
// the place of nccl.cpp in a build without SWITCHYARD_CUDA.
#pragma once

#include <memory>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// Collective over `host`, which is borrowed, after each rank was bound to a device of its own (runtime/device/cuda.h).
// The result, and what is split from it, takes both kinds of tensors: those on the device travel over NCCL, those on
// the host, barriers and NCCL's own start over `host` and its splits. `timeout`: the default of calls over NCCL.
// kUnavailable where NCCL does not start; this rank's alone, so agree on it.
absl::StatusOr<std::unique_ptr<Communicator>> make_nccl_world(Communicator& host, absl::Duration timeout);

}  // namespace switchyard
