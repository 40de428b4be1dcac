#include "parallel/checkpoint/box_runs.h"

#include <algorithm>

namespace switchyard {

BoxRuns::BoxRuns(const Box& from, const Box& to, int64_t item_bytes) {
  const Box both = intersect(from, to);
  total_bytes_ = both.numel() * item_bytes;
  done_ = total_bytes_ == 0;
  if (done_) return;
  bytes_ = item_bytes;
  int64_t from_stride = item_bytes;
  int64_t to_stride = item_bytes;
  bool contiguous = true;  // the dimensions further in are whole in both boxes
  for (size_t d = both.offset.size(); d-- > 0;) {
    from_byte_ += (both.offset[d] - from.offset[d]) * from_stride;
    to_byte_ += (both.offset[d] - to.offset[d]) * to_stride;
    if (contiguous) {
      bytes_ *= both.extent[d];
    } else if (both.extent[d] > 1) {
      outer_.push_back({both.extent[d], from_stride, to_stride, 0});
    }
    contiguous = contiguous && both.extent[d] == from.extent[d] && both.extent[d] == to.extent[d];
    from_stride *= from.extent[d];
    to_stride *= to.extent[d];
  }
  std::reverse(outer_.begin(), outer_.end());
}

void BoxRuns::advance() {
  for (size_t d = outer_.size(); d-- > 0;) {
    Dimension& dimension = outer_[d];
    from_byte_ += dimension.from_stride;
    to_byte_ += dimension.to_stride;
    if (++dimension.index < dimension.count) return;
    from_byte_ -= dimension.count * dimension.from_stride;
    to_byte_ -= dimension.count * dimension.to_stride;
    dimension.index = 0;
  }
  done_ = true;
}

}  // namespace switchyard
