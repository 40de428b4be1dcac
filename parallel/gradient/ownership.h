// Who updates what (ZeRO stage 1; Rajbhandari et al., "ZeRO: Memory optimizations toward training trillion parameter
// models", 2020): the ranks that hold an equal box of a logical tensor share the work on it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "parallel/parameter/parameter.h"
#include "parallel/topology/box.h"

namespace switchyard {

// Elements of a slice, in its box's row-major order.
struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// Fed with the slices in the order of the parameter list, which is the same on all ranks of a group, it gives every
// rank of the group the same answer.
class OwnerAssignment {
 public:
  // Per index in the group of `ranks` ranks along slice.spec.replicated: its range. Ranges are disjoint, ascending in
  // memory where several are not empty, and cover the slice. Dimension 0 is cut; a slice with fewer than
  // kWholeBelow elements or fewer rows than ranks goes whole to the rank that has been given the least so.
  std::vector<Range> next(const Slice& slice, int ranks);

  static constexpr int64_t kWholeBelow = 16 * 1024;

 private:
  std::map<AxisSet, std::vector<int64_t>> whole_elements_;  // given to each rank of the group as whole slices
};

// The part of the logical tensor that `range`, one of the above, stands for, in global coordinates.
Box owned_box(const Slice& slice, Range range);

}  // namespace switchyard
