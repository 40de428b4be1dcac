#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard {

Element element_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return Element::kBf16;
    case at::kHalf:
      return Element::kFp16;
    case at::kFloat:
      return Element::kFp32;
    case at::kDouble:
      return Element::kFp64;
    case at::kInt:
      return Element::kInt32;
    case at::kLong:
      return Element::kInt64;
    default:
      check_failed(__FILE__, __LINE__, "kernels do not know this dtype");
  }
}

}  // namespace switchyard
