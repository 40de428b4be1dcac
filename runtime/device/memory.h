// Memory as the kernel counts it, and on a device as LibTorch does; and what becomes of freed memory.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace switchyard {

// Bytes of this process in memory now, and at most so far (/proc/self/status). Pages that ranks share count for
// each that has touched them. 0 where the kernel does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();
// Bytes that this host can give to processes without swapping (/proc/meminfo). 0 where the kernel does not say.
int64_t available_bytes();

// At most so far where the device's tensors live.
int64_t peak_bytes(c10::Device device);

// From now on memory that is freed stays with the process, for the tensors of the next step: pages fresh from the
// kernel were 4 % of one. Before threads are started; for programs that repeat what they allocate.
void keep_freed_memory();

}  // namespace switchyard
