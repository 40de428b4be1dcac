#include "layers/ops/matmul_backends.h"
#include "runtime/base/check.h"

namespace switchyard {

bool amx_available() {
  return false;
}

bool amx_takes(const Product&) {
  return false;
}

void amx_product(const Product&, const void*, const void*, void*, bool) {
  SY_CHECK(amx_available());
}

}  // namespace switchyard
