// A box of a logical tensor: an offset and an extent per dimension. Boxes may be uneven or empty.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace switchyard {

struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> extent;

  static Box whole(const std::vector<int64_t>& shape);
  int64_t numel() const;
  bool empty() const { return numel() == 0; }
  bool operator==(const Box&) const = default;
};

// The part that lies in both; extents are 0 where they do not meet.
Box intersect(const Box& a, const Box& b);
std::string to_string(const Box& box);

// [begin, end) of part `index` of `parts` of n things, cut at ⌊i·n/parts⌋.
std::pair<int64_t, int64_t> cut(int64_t n, int64_t parts, int64_t index);
std::vector<int64_t> cut_sizes(int64_t n, int64_t parts);

}  // namespace switchyard
