#include "parallel/gradient/ownership.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace switchyard {

std::vector<Range> OwnerAssignment::next(const Slice& slice, int ranks) {
  const Box& box = slice.spec.box;
  const int64_t elements = box.numel();
  std::vector<Range> ranges(ranks);
  if (ranks == 1 || elements < kWholeBelow || box.extent.front() < ranks) {
    std::vector<int64_t>& given = whole_elements_[slice.spec.replicated];
    given.resize(ranks);
    const auto owner = std::min_element(given.begin(), given.end());
    *owner += elements;
    ranges[owner - given.begin()] = {0, elements};
    return ranges;
  }
  const int64_t rows = box.extent.front(), row = elements / rows;
  for (int i = 0; i < ranks; ++i) {
    const auto [begin, end] = cut(rows, ranks, i);
    ranges[i] = {begin * row, end * row};
  }
  return ranges;
}

Box owned_box(const Slice& slice, Range range) {
  Box box = slice.spec.box;
  const int64_t elements = box.numel();
  if (range.size() == elements) return box;
  const int64_t row = elements / box.extent.front();
  SY_CHECK_EQ(range.begin % row, 0);
  SY_CHECK_EQ(range.end % row, 0);
  box.offset.front() += range.begin / row;
  box.extent.front() = range.size() / row;
  return box;
}

}  // namespace switchyard
