// Writes what indexed_dataset.h reads: PREFIX.bin and PREFIX.idx, one sequence a document, tokens as u16 where the
// vocabulary is below 65500 (Megatron's rule), else as i32. The same documents give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/data/indexed_dataset.h"
#include "runtime/base/status.h"
#include "runtime/storage/atomic_file.h"

namespace switchyard {

class IndexedWriter {
 public:
  // Errors of every call are kIo or kMissingInput (no such folder). Nothing shows under the final names before commit.
  static absl::StatusOr<IndexedWriter> create(const std::string& prefix, int64_t vocabulary);

  // Tokens in [0, vocabulary), fewer than 2^31.
  absl::Status add_document(std::span<const int32_t> tokens);
  absl::Status commit();

  int64_t documents() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t tokens() const { return tokens_; }

 private:
  IndexedWriter(TokenType type, AtomicFile bin, AtomicFile idx);
  absl::Status flush();
  absl::Status write_index();

  TokenType type_;
  AtomicFile bin_;
  AtomicFile idx_;
  std::vector<char> buffer_;  // of the .bin
  std::vector<int32_t> lengths_;
  int64_t tokens_ = 0;
};

}  // namespace switchyard
