// Tokenised documents in Megatron-LM's format (megatron/core/datasets/indexed_dataset.py), read as Megatron writes it.
// PREFIX.idx, little-endian: "MMIDIDX\0\0", u64 version 1, u8 type, u64 sequences, u64 documents + 1, then i32 lengths
// [sequences], i64 byte offsets [sequences], i64 first sequence of each document [documents + 1]. PREFIX.bin: the
// tokens, back to back. A document is one sequence or several that follow each other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "launch/data/mapped_file.h"
#include "runtime/base/status.h"

namespace switchyard {

enum class TokenType : uint8_t { kUint8 = 1, kInt8 = 2, kInt16 = 3, kInt32 = 4, kInt64 = 5, kUint16 = 8 };

int64_t token_bytes(TokenType type);

// Where the arrays of an .idx file lie; they are not aligned.
struct IndexView {
  TokenType type = TokenType::kInt32;
  int64_t sequences = 0;
  int64_t documents = 0;
  int64_t tokens = 0;
  const char* offsets = nullptr;          // i64 [sequences], in bytes
  const char* document_starts = nullptr;  // i64 [documents + 1], in sequences
};

// Checks every field of `idx` against itself and against the size of the .bin: no holes, no overlaps, nothing left
// over. kBadData names PREFIX.idx and the first thing that is wrong.
absl::StatusOr<IndexView> parse_index(std::string_view idx, int64_t bin_bytes, const std::string& prefix);

class IndexedDataset {
 public:
  // kMissingInput, kBadData or kIo, naming the file.
  static absl::StatusOr<IndexedDataset> open(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  int64_t documents() const { return view_.documents; }
  int64_t tokens() const { return view_.tokens; }
  // The document's tokens are [document_begin(d), document_begin(d + 1)) of the .bin; d in [0, documents()].
  int64_t document_begin(int64_t document) const;
  int64_t document_tokens(int64_t document) const { return document_begin(document + 1) - document_begin(document); }

  // Tokens [begin, begin + count) of the .bin, widened. The range is the caller's to keep inside.
  void read(int64_t begin, int64_t count, int64_t* out) const;

  // Tells one data set from another: a hash of the whole index and of the ends of the tokens.
  uint64_t fingerprint() const;

 private:
  IndexedDataset(std::string prefix, MappedFile idx, MappedFile bin, IndexView view);

  std::string prefix_;
  MappedFile idx_;
  MappedFile bin_;
  IndexView view_;
};

}  // namespace switchyard
