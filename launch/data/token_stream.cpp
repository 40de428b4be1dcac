#include "launch/data/token_stream.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>

#include "runtime/numerics/random.h"

namespace switchyard {

EpochOrder::EpochOrder(const IndexedDataset& data, int64_t sequences, std::optional<uint64_t> seed, int64_t epoch)
    : epoch_(epoch) {
  documents_.reserve(static_cast<size_t>(data.documents()));
  for (int64_t d = 0; d < data.documents(); ++d) {
    if (data.document_tokens(d) > 0) documents_.push_back(d);
  }
  if (seed) {
    // Fisher–Yates
    const CounterRandom random(*seed, hash_name(absl::StrCat("documents of epoch ", epoch)));
    for (uint64_t i = documents_.size(); i > 1; --i) std::swap(documents_[i - 1], documents_[random.below(i, i)]);
    sequences_.emplace(sequences, *seed, hash_name(absl::StrCat("sequences of epoch ", epoch)));
  }
  ends_.reserve(documents_.size());
  int64_t end = 0;
  for (const int64_t d : documents_) ends_.push_back(end += data.document_tokens(d));
}

int64_t EpochOrder::ended_by(int64_t token) const {
  return std::upper_bound(ends_.begin(), ends_.end(), token) - ends_.begin();
}

absl::StatusOr<std::unique_ptr<TokenStream>> TokenStream::create(IndexedDataset data, std::optional<DocumentTags> tags,
                                                                 const SourceOptions& options) {
  if (data.tokens() < options.sequence) {
    return error(ErrorCategory::kBadData, absl::StrCat(data.prefix(), " has ", data.tokens(), " tokens in ",
                                                       data.documents(), " documents, less than one sequence of ",
                                                       options.sequence, "; prepare more text or lower data.sequence"));
  }
  return std::unique_ptr<TokenStream>(new TokenStream(std::move(data), std::move(tags), options));
}

TokenStream::TokenStream(IndexedDataset data, std::optional<DocumentTags> tags, const SourceOptions& options)
    : data_(std::move(data)),
      tags_(std::move(tags)),
      options_(options),
      sequences_per_epoch_(data_.tokens() / options.sequence) {}

const EpochOrder& TokenStream::order(int64_t epoch) {
  if (recent_ == nullptr || recent_->epoch() != epoch) std::swap(recent_, previous_);
  if (recent_ == nullptr || recent_->epoch() != epoch) {
    recent_.reset();  // before the next one is built: an order may be large
    recent_ = std::make_unique<EpochOrder>(data_, sequences_per_epoch_, options_.seed, epoch);
  }
  return *recent_;
}

absl::Status TokenStream::read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) {
  const EpochOrder& epoch = order(n / sequences_per_epoch_);
  const int64_t begin = epoch.place(n % sequences_per_epoch_) * options_.sequence;
  const int64_t end = begin + options_.sequence;
  int64_t at = begin;
  for (int64_t slot = epoch.ended_by(begin); at < end; ++slot) {
    const int64_t piece_end = std::min(end, epoch.end(slot));
    piece_starts.push_back(rows.first_row + at - begin);
    SY_RETURN_IF_ERROR(read_piece(epoch.document(slot), at - epoch.begin(slot), piece_end - at, rows, at - begin));
    at = piece_end;
  }
  return absl::OkStatus();
}

// Tokens [skip, skip + count) of the document, from `row` on.
absl::Status TokenStream::read_piece(int64_t document, int64_t skip, int64_t count, const SequenceRows& rows,
                                     int64_t row) {
  int64_t* tokens = rows.tokens + row;
  int64_t* targets = rows.targets + row;
  const int64_t first = data_.document_begin(document) + skip;
  const int64_t document_end = data_.document_begin(document + 1);
  data_.read(first, count, tokens);
  std::copy(tokens + 1, tokens + count, targets);
  targets[count - 1] = -1;
  if (rows.tags != nullptr) std::fill_n(rows.tags + row, count, tags_ ? (*tags_)[document] : -1);
  const bool goes_on = first + count < document_end;
  if (goes_on) data_.read(first + count, 1, targets + count - 1);

  bool known = true;
  for (int64_t i = 0; i < count; ++i) {
    known &= tokens[i] >= 0 && tokens[i] < options_.vocabulary;
    rows.positions[row + i] = i;
  }
  if (goes_on) known &= targets[count - 1] >= 0 && targets[count - 1] < options_.vocabulary;
  if (known) return absl::OkStatus();

  const auto unknown = [&](int64_t token) { return token < 0 || token >= options_.vocabulary; };
  const int64_t* found = std::find_if(tokens, tokens + count, unknown);
  const int64_t token = found == tokens + count ? targets[count - 1] : *found;
  return error(ErrorCategory::kBadData,
               absl::StrCat(data_.prefix(), ".bin: document ", document, " holds token ", token, " at ",
                            skip + (found - tokens), " but the vocabulary has ", options_.vocabulary,
                            "; use the tokenizer that the data was prepared with"));
}

int64_t TokenStream::targets(int64_t begin, int64_t end) {
  int64_t count = 0;
  for (int64_t n = begin; n < end; ++n) {
    // Every token counts but the last one of each document.
    const EpochOrder& epoch = order(n / sequences_per_epoch_);
    const int64_t first = epoch.place(n % sequences_per_epoch_) * options_.sequence;
    count += options_.sequence - (epoch.ended_by(first + options_.sequence) - epoch.ended_by(first));
  }
  return count;
}

}  // namespace switchyard
