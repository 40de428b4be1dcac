#include "parallel/checkpoint/snapshot.h"

#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

namespace switchyard {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kGrain = int64_t{4} << 20;  // bytes that are worth another thread

int64_t aligned(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void copy_bytes(char* to, const char* from, int64_t bytes) {
  at::parallel_for(0, bytes, kGrain,
                   [&](int64_t begin, int64_t end) { std::memcpy(to + begin, from + begin, end - begin); });
}

}  // namespace

void Snapshot::take(std::span<const TensorPart> parts) {
  int64_t bytes = 0;
  for (const TensorPart& part : parts) bytes += aligned(part.box.numel() * c10::elementSize(part.dtype));
  parts_.clear();
  if (!buffer_.defined() || buffer_.numel() < bytes) {
    buffer_.reset();  // never two of them
    buffer_ = at::empty({bytes}, at::kByte);
  }
  int64_t at = 0;
  for (const TensorPart& part : parts) {
    TensorPart& copy = parts_.emplace_back(TensorPart{part.name, part.dtype, part.shape, part.box, {}});
    if (part.box.empty()) continue;
    const int64_t size = part.box.numel() * c10::elementSize(part.dtype);
    copy.data = buffer_.narrow(0, at, size).view(part.dtype).view(part.box.extent);
    if (part.data.device().is_cpu()) {
      copy_bytes(static_cast<char*>(copy.data.mutable_data_ptr()), static_cast<const char*>(part.data.const_data_ptr()),
                 size);
    } else {
      copy.data.copy_(part.data.detach());
    }
    at += aligned(size);
  }
}

}  // namespace switchyard
