#include "launch/data/indexed_writer.h"

#include <limits>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr int64_t kShortVocabulary = 65500;

template <typename T>
void append(std::vector<char>& buffer, T value) {
  const char* bytes = reinterpret_cast<const char*>(&value);
  buffer.insert(buffer.end(), bytes, bytes + sizeof(T));
}

}  // namespace

absl::StatusOr<IndexedWriter> IndexedWriter::create(const std::string& prefix, int64_t vocabulary) {
  SY_ASSIGN_OR_RETURN(AtomicFile bin, AtomicFile::create(prefix + ".bin"));
  SY_ASSIGN_OR_RETURN(AtomicFile idx, AtomicFile::create(prefix + ".idx"));
  const TokenType type = vocabulary < kShortVocabulary ? TokenType::kUint16 : TokenType::kInt32;
  return IndexedWriter(type, std::move(bin), std::move(idx));
}

IndexedWriter::IndexedWriter(TokenType type, AtomicFile bin, AtomicFile idx)
    : type_(type), bin_(std::move(bin)), idx_(std::move(idx)) {}

absl::Status IndexedWriter::add_document(std::span<const int32_t> tokens) {
  SY_CHECK_LE(tokens.size(), static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  for (const int32_t token : tokens) {
    if (type_ == TokenType::kUint16) {
      append(buffer_, static_cast<uint16_t>(token));
    } else {
      append(buffer_, token);
    }
    if (buffer_.size() >= kBufferBytes) SY_RETURN_IF_ERROR(flush());
  }
  lengths_.push_back(static_cast<int32_t>(tokens.size()));
  tokens_ += static_cast<int64_t>(tokens.size());
  return absl::OkStatus();
}

absl::Status IndexedWriter::flush() {
  SY_RETURN_IF_ERROR(bin_.write(buffer_.data(), static_cast<int64_t>(buffer_.size())));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status IndexedWriter::write_index() {
  std::vector<char> idx;
  const auto flush_when_full = [&](size_t limit) -> absl::Status {
    if (idx.size() < limit) return absl::OkStatus();
    SY_RETURN_IF_ERROR(idx_.write(idx.data(), static_cast<int64_t>(idx.size())));
    idx.clear();
    return absl::OkStatus();
  };
  const std::string_view magic("MMIDIDX\0\0", 9);
  idx.assign(magic.begin(), magic.end());
  append(idx, uint64_t{1});
  append(idx, static_cast<uint8_t>(type_));
  append(idx, static_cast<uint64_t>(lengths_.size()));
  append(idx, static_cast<uint64_t>(lengths_.size() + 1));
  for (const int32_t length : lengths_) {
    append(idx, length);
    SY_RETURN_IF_ERROR(flush_when_full(kBufferBytes));
  }
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    append(idx, offset);
    offset += length * token_bytes(type_);
    SY_RETURN_IF_ERROR(flush_when_full(kBufferBytes));
  }
  for (int64_t document = 0; document <= documents(); ++document) {
    append(idx, document);
    SY_RETURN_IF_ERROR(flush_when_full(kBufferBytes));
  }
  return flush_when_full(0);
}

absl::Status IndexedWriter::commit() {
  SY_RETURN_IF_ERROR(flush());
  SY_RETURN_IF_ERROR(write_index());
  SY_RETURN_IF_ERROR(bin_.commit());
  return idx_.commit();
}

}  // namespace switchyard
