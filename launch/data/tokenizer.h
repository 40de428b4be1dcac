// Text to token ids and back, by a sentencepiece model (github.com/google/sentencepiece).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/base/status.h"

namespace switchyard {

class SentencepieceModel;

class Tokenizer {
 public:
  // A sentencepiece .model with a </s> piece. kMissingInput, kBadData or kIo.
  static absl::StatusOr<Tokenizer> load(const std::string& path);
  // The content of a .model; `name` is for messages.
  static absl::StatusOr<Tokenizer> from_bytes(std::string bytes, const std::string& name);
  // Trains a model (byte-pair encoding, lossless) on lines without control characters; characters beyond the coverage
  // are spelt as bytes. kBadData where the lines cannot carry such a vocabulary.
  static absl::StatusOr<Tokenizer> train(const std::vector<std::string>& lines, int64_t vocabulary_size,
                                         double character_coverage);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  int64_t vocabulary_size() const;
  int32_t end_of_document() const;
  const std::string& bytes() const { return bytes_; }
  // Names the model in PREFIX.json: data and tokenizer belong together where it is equal.
  std::string hash() const;

  // Valid UTF-8 to ids, without an end of document. Both may be called from several threads.
  absl::StatusOr<std::vector<int32_t>> encode(std::string_view text) const;
  // Ids outside the vocabulary are kBadData; an end of document gives no text.
  absl::StatusOr<std::string> decode(const std::vector<int32_t>& ids) const;

 private:
  Tokenizer(std::string bytes, std::string name, std::unique_ptr<SentencepieceModel> model);

  std::string bytes_;
  std::string name_;
  std::unique_ptr<SentencepieceModel> model_;
  bool lines_are_independent_;
};

}  // namespace switchyard
