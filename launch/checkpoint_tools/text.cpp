#include "launch/checkpoint_tools/text.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

namespace switchyard {

std::string size_text(int64_t bytes) {
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, units[unit]);
}

std::string type_text(const StoredTensor& tensor) {
  return absl::StrCat(dtype_name(tensor.dtype), " [", absl::StrJoin(tensor.shape, ","), "]");
}

std::string box_text(const Box& box) {
  std::vector<std::string> ranges;
  for (size_t d = 0; d < box.extent.size(); ++d) {
    ranges.push_back(absl::StrCat(box.offset[d], ":", box.offset[d] + box.extent[d]));
  }
  return absl::StrCat("[", absl::StrJoin(ranges, ", "), "]");
}

}  // namespace switchyard
