#include "runtime/comm/agreement.h"

#include <cstdlib>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <absl/strings/cord.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

constexpr char kAgreedUrl[] = "switchyard/agreed";

int64_t code_of(const absl::Status& status) {
  return status.ok() ? 0 : static_cast<int64_t>(error_category(status));
}

}  // namespace

absl::Status agree(Communicator& group, const absl::Status& mine) {
  const at::Tensor codes = at::empty({group.size()}, at::kLong);
  const std::vector<int64_t> rows(group.size(), 1);
  SY_RETURN_IF_ERROR(group.all_gather(at::tensor({code_of(mine)}, at::kLong), codes, rows).wait());
  const int64_t* code = codes.const_data_ptr<int64_t>();
  std::vector<int> failed;
  for (int rank = 0; rank < group.size(); ++rank) {
    if (code[rank] != 0) failed.push_back(rank);
  }
  if (failed.empty()) return absl::OkStatus();

  const int first = failed.front();
  SY_ASSIGN_OR_RETURN(std::string message, broadcast_text(group, std::string(mine.message()), first));
  if (static_cast<int>(failed.size()) < group.size()) {
    message = absl::StrCat(failed.size() == 1 ? "rank " : "ranks ", absl::StrJoin(failed, ", "), " of ", group.size(),
                           ": ", message);
  }
  absl::Status status = error(static_cast<ErrorCategory>(code[first]), message);
  status.SetPayload(kAgreedUrl, absl::Cord());
  return status;
}

bool is_agreed(const absl::Status& status) {
  return status.GetPayload(kAgreedUrl).has_value();
}

absl::Status broadcast_status(Communicator& group, const absl::Status& status) {
  SY_ASSIGN_OR_RETURN(const std::string text, broadcast_text(group, encode_status(status)));
  return decode_status(text);
}

std::string encode_status(const absl::Status& status) {
  return status.ok() ? "0" : absl::StrCat(code_of(status), " ", status.message());
}

absl::Status decode_status(const std::string& text) {
  char* end = nullptr;
  const long category = std::strtol(text.c_str(), &end, 10);
  if (category == 0) return absl::OkStatus();
  return error(static_cast<ErrorCategory>(category), *end == ' ' ? end + 1 : end);
}

}  // namespace switchyard
