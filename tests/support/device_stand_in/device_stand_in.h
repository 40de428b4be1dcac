// A stand-in for a device, where there is none: memory of the host that ATen takes for a device's (PrivateUse1). ATen's
// operations are carried out by the host's kernels, and throw where tensors of both meet, as they would on a device;
// ours take the memory for the host's. Tests find what was left on the wrong side, but not what a device's kernels do.
#pragma once

#include <c10/core/Device.h>

namespace switchyard {

// One for each of up to four ranks, since autograd has a thread a device.
c10::Device device_stand_in(int index);

}  // namespace switchyard
