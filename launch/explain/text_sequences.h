// A text's tokens as sequences: cut every S tokens; the last sequence is filled up with ends of documents, which count
// in no loss.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/data/sequence_source.h"

namespace switchyard {

class TextSequences final : public SequenceSource {
 public:
  // `tokens`: at least one, all in the vocabulary.
  TextSequences(std::vector<int64_t> tokens, int64_t sequence, int64_t end_of_document);

  int64_t sequence() const override { return sequence_; }
  int64_t sequences_per_epoch() const override;
  uint64_t fingerprint() const override { return 0; }
  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override;
  int64_t targets(int64_t begin, int64_t end) override;

 private:
  int64_t left(int64_t n) const;  // tokens of the text in sequence n

  const std::vector<int64_t> tokens_;
  const int64_t sequence_;
  const int64_t end_of_document_;
};

}  // namespace switchyard
