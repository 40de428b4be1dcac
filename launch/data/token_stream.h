// Documents packed back to back: an epoch is all documents in a shuffled order, cut every S tokens; what is left at its
// end (fewer than S tokens) is left out. A document that a sequence's end cuts goes on in another sequence as another
// piece; the sequences are shuffled once more, so that long documents do not fill a batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/data/document_tags.h"
#include "launch/data/indexed_dataset.h"
#include "launch/data/permutation.h"
#include "launch/data/sequence_source.h"
#include "runtime/base/status.h"

namespace switchyard {

// The order of one epoch: its documents, where each ends in the stream of tokens, and its sequences. 16 bytes a
// document.
class EpochOrder {
 public:
  // By (seed, epoch); without a seed the order of the file. Documents without tokens are left out.
  EpochOrder(const IndexedDataset& data, int64_t sequences, std::optional<uint64_t> seed, int64_t epoch);

  int64_t epoch() const { return epoch_; }
  // The place in the stream, in sequences, of the epoch's sequence `index`.
  int64_t place(int64_t index) const { return sequences_ ? (*sequences_)(index) : index; }
  int64_t document(int64_t slot) const { return documents_[static_cast<size_t>(slot)]; }
  int64_t begin(int64_t slot) const { return slot == 0 ? 0 : end(slot - 1); }
  int64_t end(int64_t slot) const { return ends_[static_cast<size_t>(slot)]; }
  // How many documents end at or before `token`; also the slot of the document that holds it.
  int64_t ended_by(int64_t token) const;

 private:
  int64_t epoch_;
  std::vector<int64_t> documents_;
  std::vector<int64_t> ends_;
  std::optional<Permutation> sequences_;
};

class TokenStream final : public SequenceSource {
 public:
  // kBadData where there is less than one sequence.
  static absl::StatusOr<std::unique_ptr<TokenStream>> create(IndexedDataset data, std::optional<DocumentTags> tags,
                                                             const SourceOptions& options);

  int64_t sequence() const override { return options_.sequence; }
  int64_t sequences_per_epoch() const override { return sequences_per_epoch_; }
  int64_t tags() const override { return tags_ ? tags_->count() : 0; }
  uint64_t fingerprint() const override { return data_.fingerprint() ^ (tags_ ? tags_->fingerprint() : 0); }
  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override;
  int64_t targets(int64_t begin, int64_t end) override;

 private:
  TokenStream(IndexedDataset data, std::optional<DocumentTags> tags, const SourceOptions& options);
  const EpochOrder& order(int64_t epoch);
  absl::Status read_piece(int64_t document, int64_t skip, int64_t count, const SequenceRows& rows, int64_t row);

  const IndexedDataset data_;
  const std::optional<DocumentTags> tags_;
  const SourceOptions options_;
  const int64_t sequences_per_epoch_;
  // The two epochs used last: a step may lie on the boundary, and the next one is loaded ahead.
  std::unique_ptr<EpochOrder> recent_;
  std::unique_ptr<EpochOrder> previous_;
};

}  // namespace switchyard
