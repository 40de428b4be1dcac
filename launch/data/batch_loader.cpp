#include "launch/data/batch_loader.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "parallel/topology/box.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

// This rank's share of the part that is sequences [begin, end).
absl::StatusOr<TokenBatch> read_share(SequenceSource& source, int64_t begin, int64_t end, DataRank data) {
  const int64_t S = source.sequence();
  const auto [first, last] = cut(end - begin, data.ranks, data.rank);
  TokenBatch batch;
  batch.sequences = last - first;
  batch.sequence = S;
  batch.tokens = at::empty({batch.sequences * S}, at::kLong);
  batch.targets = at::empty({batch.sequences * S}, at::kLong);
  batch.positions = at::empty({batch.sequences * S}, at::kLong);
  if (source.tags() > 0) batch.tags = at::empty({batch.sequences * S}, at::kLong);
  batch.first_token = first * S;
  batch.part_tokens = (end - begin) * S;
  for (int64_t b = 0; b < batch.sequences; ++b) {
    const SequenceRows rows = {.tokens = batch.tokens.data_ptr<int64_t>() + b * S,
                               .targets = batch.targets.data_ptr<int64_t>() + b * S,
                               .positions = batch.positions.data_ptr<int64_t>() + b * S,
                               .tags = batch.tags.defined() ? batch.tags.data_ptr<int64_t>() + b * S : nullptr,
                               .first_row = b * S};
    SY_RETURN_IF_ERROR(source.read(begin + first + b, rows, batch.piece_starts));
  }
  batch.piece_starts.push_back(batch.sequences * S);
  return batch;
}

}  // namespace

BatchLoader::BatchLoader(std::unique_ptr<SequenceSource> source, const Options& options)
    : source_(std::move(source)), options_(options) {
  SY_CHECK_EQ(options_.global_batch % options_.accumulation, 0);
}

BatchLoader::~BatchLoader() {
  if (next_.valid()) next_.wait();
}

absl::StatusOr<TokenBatch> BatchLoader::load(int64_t step, int64_t part) {
  SY_CHECK_LT(part, options_.accumulation);
  // The source serves one thread at a time: what was begun is waited for, also where it is of no use.
  if (next_.valid()) next_.wait();
  absl::StatusOr<TokenBatch> batch = next_.valid() && ahead_ == std::pair(step, part) ? next_.get() : read(step, part);
  ahead_ = part + 1 < options_.accumulation ? std::pair(step, part + 1) : std::pair(step + 1, int64_t{0});
  next_ = std::async(std::launch::async, [this, ahead = ahead_] { return read(ahead.first, ahead.second); });
  return batch;
}

absl::StatusOr<TokenBatch> BatchLoader::read(int64_t step, int64_t part) {
  const int64_t begin = step * options_.global_batch;
  const int64_t size = options_.global_batch / options_.accumulation;
  SY_ASSIGN_OR_RETURN(TokenBatch batch,
                      read_share(*source_, begin + part * size, begin + (part + 1) * size, options_.data));
  batch.global_targets = source_->targets(begin, begin + options_.global_batch);
  batch.part = part;
  batch.parts = options_.accumulation;
  batch.step = step;
  return batch;
}

ValidationLoader::ValidationLoader(std::unique_ptr<SequenceSource> source, int64_t sequences, int64_t part_sequences,
                                   DataRank data)
    : source_(std::move(source)),
      sequences_(sequences == 0 ? source_->sequences_per_epoch() : std::min(sequences, source_->sequences_per_epoch())),
      part_sequences_(part_sequences),
      data_(data),
      targets_(source_->targets(0, sequences_)) {}

absl::StatusOr<TokenBatch> ValidationLoader::load(int64_t part) {
  SY_CHECK_LT(part, parts());
  const int64_t begin = part * part_sequences_;
  const int64_t end = std::min(sequences_, begin + part_sequences_);
  SY_ASSIGN_OR_RETURN(TokenBatch batch, read_share(*source_, begin, end, data_));
  batch.global_targets = targets_;
  batch.part = part;
  batch.parts = parts();
  batch.training = false;
  return batch;
}

}  // namespace switchyard
