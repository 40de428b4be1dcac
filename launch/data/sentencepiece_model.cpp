#include "launch/data/sentencepiece_model.h"

#include <unordered_map>
#include <utility>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

namespace switchyard {
namespace {

std::string message_of(const sentencepiece::util::Status& status) {
  return status.ok() ? "" : status.ToString();
}

class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t next_ = 0;
};

}  // namespace

struct SentencepieceModel::Library {
  sentencepiece::SentencePieceProcessor processor;
};

std::string SentencepieceModel::train(const std::vector<std::string>& lines, int vocabulary_size,
                                      double character_coverage, std::string* serialized) {
  Lines iterator(lines);
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocabulary_size)},
      {"character_coverage", std::to_string(character_coverage)},
      {"num_threads", "8"},  // a constant, because the model's bytes record it
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},  // indentation is common in real text
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"max_sentence_length", "1048576"},
      {"minloglevel", "2"},
  };
  return message_of(sentencepiece::SentencePieceTrainer::Train(options, &iterator, serialized));
}

SentencepieceModel::SentencepieceModel() : library_(std::make_unique<Library>()) {}
SentencepieceModel::~SentencepieceModel() = default;

std::string SentencepieceModel::load(std::string_view serialized) {
  return message_of(library_->processor.LoadFromSerializedProto(serialized));
}

int SentencepieceModel::vocabulary_size() const {
  return library_->processor.GetPieceSize();
}

int SentencepieceModel::end_of_document() const {
  return library_->processor.eos_id();
}

bool SentencepieceModel::lines_are_independent() const {
  const auto& processor = library_->processor;
  // No piece goes beyond a line's end, and the normaliser neither changes it nor adds or removes spaces beside it.
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    if (processor.IdToPiece(id).find('\n') != std::string::npos) return false;
  }
  std::vector<int> whole, first, second, third;
  for (const auto& [text, ids] : {std::pair("a\n\n  b", &whole), {"a\n", &first}, {"\n", &second}, {"  b", &third}}) {
    if (!processor.Encode(text, ids).ok()) return false;
  }
  first.insert(first.end(), second.begin(), second.end());
  first.insert(first.end(), third.begin(), third.end());
  return whole == first;
}

std::string SentencepieceModel::encode(std::string_view text, std::vector<int>* ids) const {
  return message_of(library_->processor.Encode(text, ids));
}

std::string SentencepieceModel::decode(const std::vector<int>& ids, std::string* text) const {
  return message_of(library_->processor.Decode(ids, text));
}

}  // namespace switchyard
