// Memory of this process, as the kernel counts it (/proc/self/status).
#pragma once

#include <cstdint>

namespace switchyard {

// Bytes in memory now, and at most so far. 0 where the kernel does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace switchyard
