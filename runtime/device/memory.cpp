#include "runtime/device/memory.h"

#include <fstream>
#include <string>

namespace switchyard {
namespace {

// Lines read "VmRSS:     1234 kB".
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
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
  return status_bytes("VmRSS:");
}

int64_t peak_resident_bytes() {
  return status_bytes("VmHWM:");
}

}  // namespace switchyard
