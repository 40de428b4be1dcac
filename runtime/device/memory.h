// Memory as the kernel counts it.
#pragma once

#include <cstdint>

namespace switchyard {

// Bytes of this process in memory now, and at most so far (/proc/self/status). 0 where the kernel does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();
// Bytes that this host can give to processes without swapping (/proc/meminfo). 0 where the kernel does not say.
int64_t available_bytes();

}  // namespace switchyard
