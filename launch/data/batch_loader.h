// The batches of a run. Step s takes sequences [s·global_batch, (s+1)·global_batch), in `accumulation` equal parts; of
// a part, data rank r takes what cut(·, data_ranks, r) gives it, possibly nothing. Batches are on the host.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <utility>

#include <absl/status/statusor.h>

#include "launch/data/sequence_source.h"
#include "layers/models/token_batch.h"
#include "runtime/base/status.h"

namespace switchyard {

struct DataRank {
  int64_t ranks = 1;
  int64_t rank = 0;
};

class BatchLoader {
 public:
  struct Options {
    int64_t global_batch = 1;  // sequences a step, over all data ranks; a multiple of accumulation
    int64_t accumulation = 1;
    DataRank data = {};
  };
  BatchLoader(std::unique_ptr<SequenceSource> source, const Options& options);
  ~BatchLoader();

  // Part `part` of step `step`; any order is allowed. The part that follows is then loaded in the background. Errors as
  // in SequenceSource::read, which ranks meet on their own.
  absl::StatusOr<TokenBatch> load(int64_t step, int64_t part);

  const SequenceSource& source() const { return *source_; }

 private:
  absl::StatusOr<TokenBatch> read(int64_t step, int64_t part);

  const std::unique_ptr<SequenceSource> source_;
  const Options options_;
  std::pair<int64_t, int64_t> ahead_{-1, -1};  // step and part of next_
  std::future<absl::StatusOr<TokenBatch>> next_;
};

// One pass over the first `sequences` (0: all, and never more than there are) of a source without a seed, in parts of
// `part_sequences`, the last one shorter. The pass is one step: global_targets counts all of it.
class ValidationLoader {
 public:
  ValidationLoader(std::unique_ptr<SequenceSource> source, int64_t sequences, int64_t part_sequences, DataRank data);

  int64_t parts() const { return (sequences_ + part_sequences_ - 1) / part_sequences_; }
  absl::StatusOr<TokenBatch> load(int64_t part);

 private:
  const std::unique_ptr<SequenceSource> source_;
  const int64_t sequences_;
  const int64_t part_sequences_;
  const DataRank data_;
  const int64_t targets_;
};

}  // namespace switchyard
