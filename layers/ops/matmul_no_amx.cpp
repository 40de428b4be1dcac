#include "layers/ops/matmul_backends.h"
#include "runtime/base/check.h"

namespace switchyard {

bool amx_available() {
  return false;
}

void amx_fp32_product(const Product&, const float*, const float*, float*) {
  SY_CHECK(amx_available());
}

void amx_weight_gradient(const Product&, const uint16_t*, const uint16_t*, float*) {
  SY_CHECK(amx_available());
}

bool amx_takes_rows(const Product&) {
  return false;
}

void amx_rows_product(const Product&, const uint16_t*, const uint16_t*, uint16_t*, bool) {
  SY_CHECK(amx_available());
}

}  // namespace switchyard
