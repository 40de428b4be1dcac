// Checksums of stored data: XXH3-64 (https://github.com/Cyan4973/xxHash, seed 0), per chunk of 1 MiB, written as 16 hex
// digits. They find damage, not malice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace switchyard {

constexpr int64_t kChunkBytes = int64_t{1} << 20;

// Chunks of `bytes` bytes; the last one may be short.
constexpr int64_t chunk_count(int64_t bytes) {
  return (bytes + kChunkBytes - 1) / kChunkBytes;
}

uint64_t checksum(const void* data, int64_t bytes);
std::string checksum_text(uint64_t value);
std::optional<uint64_t> parse_checksum(std::string_view text);

}  // namespace switchyard
