// The device queue of CUDA: a stream from LibTorch's pool, and events. A bug in builds without SWITCHYARD_CUDA.
#pragma once

#include <memory>

#include "runtime/comm/device_queue.h"

namespace switchyard {

std::unique_ptr<DeviceQueue> make_cuda_queue();

}  // namespace switchyard
