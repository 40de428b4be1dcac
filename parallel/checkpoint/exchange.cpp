#include "parallel/checkpoint/exchange.h"

#include <cstdlib>
#include <cstring>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

at::Tensor bytes_of(const std::string& text) {
  at::Tensor bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, int64_t begin, int64_t size) {
  return {static_cast<const char*>(bytes.const_data_ptr()) + begin, static_cast<size_t>(size)};
}

}  // namespace

absl::StatusOr<std::vector<std::string>> gather_texts(const std::string& text, Communicator& group) {
  const int ranks = group.size();
  const bool root = group.rank() == 0;
  const at::Tensor sizes = at::empty({ranks}, at::kLong);
  const at::Tensor mine = at::tensor({static_cast<int64_t>(text.size())}, at::kLong);
  const std::vector<int64_t> one_each(ranks, 1);
  SY_RETURN_IF_ERROR(group.all_gather(mine, sizes, one_each).wait());
  const int64_t* size = sizes.const_data_ptr<int64_t>();
  std::vector<int64_t> send_rows(ranks, 0);
  send_rows[0] = static_cast<int64_t>(text.size());
  std::vector<int64_t> receive_rows(ranks, 0);
  if (root) receive_rows.assign(size, size + ranks);
  const int64_t total = std::accumulate(receive_rows.begin(), receive_rows.end(), int64_t{0});
  const at::Tensor received = at::empty({total}, at::kByte);
  SY_RETURN_IF_ERROR(group.all_to_all(bytes_of(text), send_rows, received, receive_rows).wait());
  std::vector<std::string> texts;
  if (!root) return texts;
  int64_t begin = 0;
  for (const int64_t rows : receive_rows) {
    texts.push_back(text_of(received, begin, rows));
    begin += rows;
  }
  return texts;
}

absl::StatusOr<std::string> broadcast_text(const std::string& text, Communicator& group) {
  const at::Tensor size = at::tensor({static_cast<int64_t>(text.size())}, at::kLong);
  SY_RETURN_IF_ERROR(group.broadcast(size, 0).wait());
  const int64_t bytes = *size.const_data_ptr<int64_t>();
  const at::Tensor content = group.rank() == 0 ? bytes_of(text) : at::empty({bytes}, at::kByte);
  SY_RETURN_IF_ERROR(group.broadcast(content, 0).wait());
  return text_of(content, 0, bytes);
}

absl::Status broadcast_status(const absl::Status& status, Communicator& group) {
  SY_ASSIGN_OR_RETURN(const std::string text, broadcast_text(encode_status(status), group));
  return decode_status(text);
}

absl::Status share_failure(const absl::Status& status, Communicator& group) {
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts, gather_texts(encode_status(status), group));
  absl::Status shared;
  for (size_t rank = 0; rank < texts.size() && shared.ok(); ++rank) {
    shared = annotate(decode_status(texts[rank]), absl::StrCat("rank ", rank));
  }
  return broadcast_status(shared, group);
}

std::string encode_status(const absl::Status& status) {
  return status.ok() ? "0" : absl::StrCat(static_cast<int>(error_category(status)), " ", status.message());
}

absl::Status decode_status(const std::string& text) {
  char* end = nullptr;
  const long category = std::strtol(text.c_str(), &end, 10);
  if (category == 0) return absl::OkStatus();
  return error(static_cast<ErrorCategory>(category), *end == ' ' ? end + 1 : end);
}

}  // namespace switchyard
