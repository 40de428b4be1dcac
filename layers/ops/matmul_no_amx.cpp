#include "layers/ops/matmul_backends.h"
#include "runtime/base/check.h"

namespace switchyard {

bool amx_available() {
  return false;
}

void amx_product(const Product&, const void*, const void*, float*) {
  SY_CHECK(amx_available());
}

}  // namespace switchyard
