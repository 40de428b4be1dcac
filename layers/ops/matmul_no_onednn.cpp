#include "layers/ops/matmul_backends.h"

namespace switchyard {

bool onednn_product(const Product&, const void*, const void*, void*) {
  return false;
}

}  // namespace switchyard
