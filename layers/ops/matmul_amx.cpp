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

bool amx_takes(const Product& p) {
  if (!amx_available()) return false;
  if (p.type == ProductType::kFp32) return true;
  if (p.type == ProductType::kBf16ToFp32) return p.transpose_a && !p.transpose_b;
  constexpr int64_t kWhole = 32;  // columns, and numbers of the inner dimension
  return !p.transpose_a && !p.accumulate && p.n % kWhole == 0 && p.k % kWhole == 0;
}

void amx_product(const Product& product, const void* a, const void* b, void* c, bool passing) {
  const auto* a_numbers = static_cast<const uint16_t*>(a);
  const auto* b_numbers = static_cast<const uint16_t*>(b);
  switch (product.type) {
    case ProductType::kFp32:
      return amx_fp32_product(product, static_cast<const float*>(a), static_cast<const float*>(b),
                              static_cast<float*>(c));
    case ProductType::kBf16ToFp32:
      return amx_weight_gradient(product, a_numbers, b_numbers, static_cast<float*>(c));
    case ProductType::kBf16:
      return amx_rows_product(product, a_numbers, b_numbers, static_cast<uint16_t*>(c), passing);
  }
}

}  // namespace switchyard
