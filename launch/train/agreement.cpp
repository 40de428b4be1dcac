#include "launch/train/agreement.h"

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/cord.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr char kAgreedUrl[] = "switchyard/agreed";

// `text` of rank `root` on all ranks.
absl::StatusOr<std::string> broadcast_text(Communicator& world, std::string text, int root) {
  at::Tensor size = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  SY_RETURN_IF_ERROR(world.broadcast(size, root).wait());
  at::Tensor bytes = at::empty({*size.const_data_ptr<int64_t>()}, at::kByte);
  if (world.rank() == root) std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<uint8_t>());
  SY_RETURN_IF_ERROR(world.broadcast(bytes, root).wait());
  const auto* begin = reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>());
  return std::string(begin, begin + bytes.numel());
}

}  // namespace

absl::Status agree(Communicator& world, const absl::Status& mine) {
  const int64_t my_code = mine.ok() ? 0 : static_cast<int64_t>(error_category(mine));
  const at::Tensor codes = at::empty({world.size()}, at::kLong);
  const std::vector<int64_t> rows(world.size(), 1);
  SY_RETURN_IF_ERROR(world.all_gather(at::full({1}, my_code, at::kLong), codes, rows).wait());
  const int64_t* code_of = codes.const_data_ptr<int64_t>();
  std::vector<int> failed;
  for (int rank = 0; rank < world.size(); ++rank) {
    if (code_of[rank] != 0) failed.push_back(rank);
  }
  if (failed.empty()) return absl::OkStatus();

  const int first = failed.front();
  SY_ASSIGN_OR_RETURN(std::string message, broadcast_text(world, std::string(mine.message()), first));
  if (static_cast<int>(failed.size()) < world.size()) {
    message = absl::StrCat(failed.size() == 1 ? "rank " : "ranks ", absl::StrJoin(failed, ", "), " of ", world.size(),
                           ": ", message);
  }
  absl::Status status = error(static_cast<ErrorCategory>(code_of[first]), message);
  status.SetPayload(kAgreedUrl, absl::Cord());
  return status;
}

bool is_agreed(const absl::Status& status) {
  return status.GetPayload(kAgreedUrl).has_value();
}

}  // namespace switchyard
