// The only door to the sentencepiece library. Its headers and Abseil's cannot be read together, so this speaks plain
// C++: calls return an error message, empty where they succeeded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

class SentencepieceModel {
 public:
  // Byte-pair encoding with byte fallback; text comes back from its tokens byte for byte (no normalisation, no added or
  // removed spaces). `lines` hold no control characters. The same lines give the same model.
  static std::string train(const std::vector<std::string>& lines, int vocabulary_size, double character_coverage,
                           std::string* serialized);

  SentencepieceModel();
  ~SentencepieceModel();

  std::string load(std::string_view serialized);
  int vocabulary_size() const;
  int end_of_document() const;  // </s>; negative where the model has none
  // Whether text may be cut after any line's end, its pieces encoded apart, and the ids joined.
  bool lines_are_independent() const;

  // Both may be called from several threads.
  std::string encode(std::string_view text, std::vector<int>* ids) const;
  std::string decode(const std::vector<int>& ids, std::string* text) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace switchyard
