#include "runtime/storage/checksum.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace switchyard {

uint64_t checksum(const void* data, int64_t bytes) {
  return XXH3_64bits(data, static_cast<size_t>(bytes));
}

struct ChunkChecksums::State {
  XXH3_state_t xxh3;
};

ChunkChecksums::ChunkChecksums() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh3);
}

ChunkChecksums::~ChunkChecksums() = default;

void ChunkChecksums::add(const void* data, int64_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const int64_t size = std::min(bytes, kChunkBytes - in_chunk_);
    XXH3_64bits_update(&state_->xxh3, from, static_cast<size_t>(size));
    from += size;
    bytes -= size;
    in_chunk_ += size;
    if (in_chunk_ == kChunkBytes) end_chunk();
  }
}

void ChunkChecksums::end_chunk() {
  done_.push_back(XXH3_64bits_digest(&state_->xxh3));
  XXH3_64bits_reset(&state_->xxh3);
  in_chunk_ = 0;
}

std::vector<uint64_t> ChunkChecksums::take() {
  if (in_chunk_ > 0) end_chunk();
  return std::exchange(done_, {});
}

std::string checksum_text(uint64_t value) {
  return absl::StrFormat("%016x", value);
}

std::optional<uint64_t> parse_checksum(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    value = value * 16 + static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

}  // namespace switchyard
