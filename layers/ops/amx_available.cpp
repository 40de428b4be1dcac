#include <sys/syscall.h>
#include <unistd.h>

#include "layers/ops/matmul_backends.h"

namespace switchyard {
namespace {

// Linux gives tiles to a process that asks for them.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool amx_available() {
  static const bool available = may_use_tiles();
  return available;
}

}  // namespace switchyard
