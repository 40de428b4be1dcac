#include "parallel/checkpoint/tensor_part.h"

#include "runtime/base/check.h"

namespace switchyard {

void check_part(const TensorPart& part) {
  SY_CHECK_EQ(part.box.offset.size(), part.shape.size());
  SY_CHECK_EQ(part.box.extent.size(), part.shape.size());
  for (size_t d = 0; d < part.shape.size(); ++d) {
    SY_CHECK_GE(part.box.offset[d], 0);
    SY_CHECK_GE(part.box.extent[d], 0);
    SY_CHECK_LE(part.box.offset[d] + part.box.extent[d], part.shape[d]);
  }
  if (part.box.empty()) return;
  SY_CHECK_EQ(part.data.scalar_type(), part.dtype);
  SY_CHECK_EQ(part.data.sizes(), at::IntArrayRef(part.box.extent));
  SY_CHECK(part.data.is_contiguous());
}

}  // namespace switchyard
