// Documents from files: plain text, gzip text (known by its first bytes), or JSON lines with a "text" each.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>
#include <zlib.h>

#include "runtime/base/status.h"

namespace switchyard {

enum class TextFormat { kText, kJsonLines };

// One document as it lies in its file: the whole of a text file, or one line of JSON.
struct RawDocument {
  std::string_view file;  // the reader's
  int64_t line = 0;       // from 1; 0: the whole file
  int64_t offset = 0;     // of its first byte in the (decompressed) file
  std::string content;
};

struct DocumentText {
  std::string text;
  std::string tag;  // of a line of JSON that has one; empty: none
};

// kBadData with file, line and byte offset for invalid UTF-8 or what is not {"text": "…"}, with or without "tag": "…".
absl::StatusOr<DocumentText> document_text(RawDocument document, TextFormat format);

// The files that `paths` name, in that order; folders are walked, their files in sorted order, without those whose name
// begins with a dot. kMissingInput for a path that does not exist.
absl::StatusOr<std::vector<std::string>> list_inputs(const std::vector<std::string>& paths);

class CorpusReader {
 public:
  CorpusReader(std::vector<std::string> files, TextFormat format);

  // The next documents, about 1 MiB together; nothing at the end. Empty files and blank lines are left out.
  // kMissingInput, kIo, or kBadData for broken gzip.
  absl::StatusOr<std::optional<std::vector<RawDocument>>> next();

  // As stored, for progress.
  int64_t bytes_read() const { return bytes_before_ + bytes_here_; }
  int64_t bytes_total() const { return bytes_total_; }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose_r(file); }
  };

  absl::Status open();
  absl::Status fill();
  absl::Status read_some(std::vector<RawDocument>& batch);
  void give_lines(std::vector<RawDocument>& batch);

  const std::vector<std::string> files_;
  const TextFormat format_;
  int64_t bytes_total_ = 0;
  int64_t bytes_before_ = 0;  // of the files that are done
  int64_t bytes_here_ = 0;

  size_t next_file_ = 0;
  std::unique_ptr<gzFile_s, Close> file_;  // none between files
  std::string pending_;                    // read, not yet given
  size_t searched_ = 0;                    // of pending_, for a line's end
  bool file_ended_ = false;
  int64_t offset_ = 0;  // of pending_
  int64_t line_ = 0;
};

}  // namespace switchyard
