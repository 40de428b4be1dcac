#include "runtime/device/memory.h"

#include <fstream>
#include <string>

#include <malloc.h>

#include "runtime/device/cuda.h"

namespace switchyard {
namespace {

// Lines read "VmRSS:     1234 kB".
int64_t bytes_in(const char* file, const std::string& key) {
  std::ifstream status(file);
  std::string word;
  while (status >> word) {
    if (word == key) {
      int64_t kib = 0;
      return status >> kib ? kib * 1024 : 0;
    }
  }
  return 0;
}

}  // namespace

int64_t resident_bytes() {
  return bytes_in("/proc/self/status", "VmRSS:");
}

int64_t peak_resident_bytes() {
  return bytes_in("/proc/self/status", "VmHWM:");
}

int64_t available_bytes() {
  return bytes_in("/proc/meminfo", "MemAvailable:");
}

int64_t peak_bytes(c10::Device device) {
  return device.is_cuda() ? peak_cuda_bytes() : peak_resident_bytes();
}

void keep_freed_memory() {
  ::mallopt(M_MMAP_MAX, 0);  // a mapping of its own would be returned when freed
  ::mallopt(M_TRIM_THRESHOLD, -1);
  ::mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace switchyard
