// PREFIX.tags beside PREFIX.idx: which class each document belongs to (a language, a source), as a number whose name is
// in PREFIX.json. Little-endian: "SYTAGS\0\0", u64 version 1, u64 documents, then i32 [documents], −1: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/data/mapped_file.h"
#include "runtime/base/status.h"

namespace switchyard {

class DocumentTags {
 public:
  // Nothing where PREFIX.tags does not exist; kBadData where it is damaged or for another number of documents.
  static absl::StatusOr<std::optional<DocumentTags>> open(const std::string& prefix, int64_t documents);

  int64_t operator[](int64_t document) const;
  // One more than the largest tag.
  int64_t count() const { return count_; }
  uint64_t fingerprint() const;

 private:
  explicit DocumentTags(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  int64_t count_ = 0;
};

// Replaces PREFIX.tags; where no document has a tag, removes it. kIo or kMissingInput (no such folder).
absl::Status write_tags(const std::string& prefix, std::span<const int32_t> tags);

}  // namespace switchyard
