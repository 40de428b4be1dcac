#include "runtime/comm/exchange.h"

#include <cstring>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

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

// How many bytes each rank has to say.
absl::StatusOr<std::vector<int64_t>> gather_sizes(Communicator& group, const std::string& mine) {
  const at::Tensor sizes = at::empty({group.size()}, at::kLong);
  const at::Tensor size = at::tensor({static_cast<int64_t>(mine.size())}, at::kLong);
  SY_RETURN_IF_ERROR(group.all_gather(size, sizes, std::vector<int64_t>(group.size(), 1)).wait());
  const int64_t* begin = sizes.const_data_ptr<int64_t>();
  return std::vector<int64_t>(begin, begin + group.size());
}

at::Tensor room_for(const std::vector<int64_t>& sizes) {
  return at::empty({std::accumulate(sizes.begin(), sizes.end(), int64_t{0})}, at::kByte);
}

std::vector<std::string> texts_of(const at::Tensor& bytes, const std::vector<int64_t>& sizes) {
  std::vector<std::string> texts;
  int64_t begin = 0;
  for (const int64_t size : sizes) {
    texts.push_back(text_of(bytes, begin, size));
    begin += size;
  }
  return texts;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> gather_texts(Communicator& group, const std::string& mine) {
  SY_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, gather_sizes(group, mine));
  const bool root = group.rank() == 0;
  std::vector<int64_t> sent(group.size(), 0);
  sent[0] = static_cast<int64_t>(mine.size());
  const std::vector<int64_t> received = root ? sizes : std::vector<int64_t>(group.size(), 0);
  const at::Tensor bytes = room_for(received);
  SY_RETURN_IF_ERROR(group.all_to_all(bytes_of(mine), sent, bytes, received).wait());
  return root ? texts_of(bytes, sizes) : std::vector<std::string>();
}

absl::StatusOr<std::vector<std::string>> all_gather_texts(Communicator& group, const std::string& mine) {
  SY_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, gather_sizes(group, mine));
  const at::Tensor bytes = room_for(sizes);
  SY_RETURN_IF_ERROR(group.all_gather(bytes_of(mine), bytes, sizes).wait());
  return texts_of(bytes, sizes);
}

absl::StatusOr<std::string> broadcast_text(Communicator& group, const std::string& text, int root) {
  const at::Tensor size = at::tensor({static_cast<int64_t>(text.size())}, at::kLong);
  SY_RETURN_IF_ERROR(group.broadcast(size, root).wait());
  const int64_t count = *size.const_data_ptr<int64_t>();
  const at::Tensor bytes = group.rank() == root ? bytes_of(text) : at::empty({count}, at::kByte);
  SY_RETURN_IF_ERROR(group.broadcast(bytes, root).wait());
  return text_of(bytes, 0, count);
}

absl::StatusOr<double> reduce_number(Communicator& group, double mine, ReduceOp op) {
  const at::Tensor number = at::tensor({mine}, at::kDouble);
  SY_RETURN_IF_ERROR(group.all_reduce(number, op).wait());
  return *number.const_data_ptr<double>();
}

}  // namespace switchyard
