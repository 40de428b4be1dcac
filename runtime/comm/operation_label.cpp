#include "runtime/comm/operation_label.h"

#include <absl/strings/str_cat.h>

namespace switchyard {
namespace {

// The last three parts of a path: enough to find a file of this tree, whatever folder it was built in.
std::string short_path(const std::string& path) {
  size_t start = path.size();
  for (int parts = 0; parts < 3 && start != std::string::npos && start > 0; ++parts) start = path.rfind('/', start - 1);
  return start == std::string::npos || start == 0 ? path : path.substr(start + 1);
}

}  // namespace

std::string headline(Seat seat, const OperationLabel& label) {
  return absl::StrCat("rank ", seat.rank, " of ", seat.size, " in group '", label.group, "': ", label.operation, " #",
                      label.sequence, " called at ", short_path(label.where.file_name()), ":", label.where.line());
}

}  // namespace switchyard
