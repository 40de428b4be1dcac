// Checksums of stored data: XXH3-64 (https://github.com/Cyan4973/xxHash, seed 0), per chunk of 1 MiB, written as 16 hex
// digits. They find damage, not malice.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

constexpr int64_t kChunkBytes = int64_t{1} << 20;

// Chunks of `bytes` bytes; the last one may be short.
constexpr int64_t chunk_count(int64_t bytes) {
  return (bytes + kChunkBytes - 1) / kChunkBytes;
}

uint64_t checksum(const void* data, int64_t bytes);

// Those of the chunks of data that comes in pieces of any size.
class ChunkChecksums {
 public:
  ChunkChecksums();
  ~ChunkChecksums();
  ChunkChecksums(const ChunkChecksums&) = delete;
  ChunkChecksums& operator=(const ChunkChecksums&) = delete;

  void add(const void* data, int64_t bytes);
  std::vector<uint64_t> take();  // of all data so far; what follows begins anew

 private:
  void end_chunk();

  struct State;
  const std::unique_ptr<State> state_;
  int64_t in_chunk_ = 0;  // bytes so far
  std::vector<uint64_t> done_;
};

std::string checksum_text(uint64_t value);
std::optional<uint64_t> parse_checksum(std::string_view text);

}  // namespace switchyard
