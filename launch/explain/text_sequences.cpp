#include "launch/explain/text_sequences.h"

#include <algorithm>
#include <utility>

namespace switchyard {

TextSequences::TextSequences(std::vector<int64_t> tokens, int64_t sequence, int64_t end_of_document)
    : tokens_(std::move(tokens)), sequence_(sequence), end_of_document_(end_of_document) {}

int64_t TextSequences::sequences_per_epoch() const {
  return (static_cast<int64_t>(tokens_.size()) + sequence_ - 1) / sequence_;
}

int64_t TextSequences::left(int64_t n) const {
  return std::clamp(static_cast<int64_t>(tokens_.size()) - n * sequence_, int64_t{0}, sequence_);
}

absl::Status TextSequences::read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) {
  const int64_t first = n * sequence_, real = left(n);
  piece_starts.push_back(rows.first_row);
  if (real > 0 && real < sequence_) piece_starts.push_back(rows.first_row + real);
  for (int64_t i = 0; i < sequence_; ++i) {
    rows.tokens[i] = i < real ? tokens_[first + i] : end_of_document_;
    rows.targets[i] = i + 1 < real ? tokens_[first + i + 1] : -1;
    rows.positions[i] = i < real ? i : i - real;
  }
  return absl::OkStatus();
}

int64_t TextSequences::targets(int64_t begin, int64_t end) {
  int64_t count = 0;
  for (int64_t n = begin; n < end; ++n) count += std::max<int64_t>(0, left(n) - 1);
  return count;
}

}  // namespace switchyard
