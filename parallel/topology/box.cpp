#include "parallel/topology/box.h"

#include <algorithm>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "runtime/base/check.h"

namespace switchyard {

Box Box::whole(const std::vector<int64_t>& shape) {
  return {std::vector<int64_t>(shape.size(), 0), shape};
}

int64_t Box::numel() const {
  int64_t product = 1;
  for (int64_t e : extent) product *= e;
  return product;
}

Box intersect(const Box& a, const Box& b) {
  SY_CHECK_EQ(a.offset.size(), b.offset.size());
  Box out = a;
  for (size_t d = 0; d < a.offset.size(); ++d) {
    const int64_t begin = std::max(a.offset[d], b.offset[d]);
    const int64_t end = std::min(a.offset[d] + a.extent[d], b.offset[d] + b.extent[d]);
    out.offset[d] = begin;
    out.extent[d] = std::max<int64_t>(0, end - begin);
  }
  return out;
}

std::string to_string(const Box& box) {
  return absl::StrCat("[", absl::StrJoin(box.offset, ","), "]+[", absl::StrJoin(box.extent, ","), "]");
}

std::pair<int64_t, int64_t> cut(int64_t n, int64_t parts, int64_t index) {
  return {n * index / parts, n * (index + 1) / parts};
}

std::vector<int64_t> cut_sizes(int64_t n, int64_t parts) {
  std::vector<int64_t> sizes(parts);
  for (int64_t i = 0; i < parts; ++i) {
    const auto [begin, end] = cut(n, parts, i);
    sizes[i] = end - begin;
  }
  return sizes;
}

}  // namespace switchyard
