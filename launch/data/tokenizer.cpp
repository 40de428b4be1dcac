#include "launch/data/tokenizer.h"

#include <type_traits>
#include <utility>

#include <absl/strings/str_cat.h>

#include "launch/data/mapped_file.h"
#include "launch/data/sentencepiece_model.h"
#include "runtime/storage/checksum.h"

namespace switchyard {

static_assert(std::is_same_v<int, int32_t>, "sentencepiece's ids are passed on without a copy");

absl::StatusOr<Tokenizer> Tokenizer::load(const std::string& path) {
  SY_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return from_bytes(std::string(file.bytes()), path);
}

absl::StatusOr<Tokenizer> Tokenizer::from_bytes(std::string bytes, const std::string& name) {
  auto model = std::make_unique<SentencepieceModel>();
  const std::string message = bytes.empty() ? "the file is empty" : model->load(bytes);
  if (!message.empty()) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(name, " is not a sentencepiece model; give a .model file (", message, ")"));
  }
  if (model->end_of_document() < 0) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(name, " has no </s> piece to end documents with; give a model that has one"));
  }
  return Tokenizer(std::move(bytes), name, std::move(model));
}

absl::StatusOr<Tokenizer> Tokenizer::train(const std::vector<std::string>& lines, int64_t vocabulary_size,
                                           double character_coverage) {
  std::string bytes;
  const std::string message =
      SentencepieceModel::train(lines, static_cast<int>(vocabulary_size), character_coverage, &bytes);
  if (message.empty()) return from_bytes(std::move(bytes), "the trained tokenizer");
  return error(ErrorCategory::kBadData,
               absl::StrCat("cannot train a tokenizer of ", vocabulary_size, " pieces on this text; ",
                            "change --vocab-size or add text (", message, ")"));
}

Tokenizer::Tokenizer(std::string bytes, std::string name, std::unique_ptr<SentencepieceModel> model)
    : bytes_(std::move(bytes)),
      name_(std::move(name)),
      model_(std::move(model)),
      lines_are_independent_(model_->lines_are_independent()) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

int64_t Tokenizer::vocabulary_size() const {
  return model_->vocabulary_size();
}

int32_t Tokenizer::end_of_document() const {
  return model_->end_of_document();
}

std::string Tokenizer::hash() const {
  return checksum_text(checksum(bytes_.data(), static_cast<int64_t>(bytes_.size())));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text) const {
  // The library's time grows faster than the text.
  constexpr size_t kPartBytes = 4096;
  std::vector<int32_t> ids;
  std::vector<int32_t> part_ids;
  while (!text.empty()) {
    size_t end = std::string_view::npos;
    if (lines_are_independent_ && text.size() > kPartBytes) end = text.find('\n', kPartBytes);
    const std::string_view part = text.substr(0, end == std::string_view::npos ? text.size() : end + 1);
    const std::string message = model_->encode(part, &part_ids);
    if (!message.empty()) {
      return error(ErrorCategory::kBadData, absl::StrCat(name_, " cannot encode this text (", message, ")"));
    }
    ids.insert(ids.end(), part_ids.begin(), part_ids.end());
    text.remove_prefix(part.size());
  }
  return ids;
}

absl::StatusOr<std::string> Tokenizer::decode(const std::vector<int32_t>& ids) const {
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocabulary_size()) continue;
    return error(ErrorCategory::kBadData, absl::StrCat("token ", id, " is not one of the ", vocabulary_size(),
                                                       " pieces of ", name_, "; give the tokenizer of the data"));
  }
  std::string text;
  const std::string message = model_->decode(ids, &text);
  if (message.empty()) return text;
  return error(ErrorCategory::kBadData, absl::StrCat(name_, " cannot decode these tokens (", message, ")"));
}

}  // namespace switchyard
