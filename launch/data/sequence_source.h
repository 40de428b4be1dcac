// An endless, numbered row of training sequences: sequence n is a pure function of the data, the seed and n, so the
// order depends on no rank and the only cursor is a number.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/base/status.h"

namespace switchyard {

// Where a sequence is written. The arrays have S elements; see layers/models/token_batch.h for what they hold.
struct SequenceRows {
  int64_t* tokens = nullptr;
  int64_t* targets = nullptr;
  int64_t* positions = nullptr;
  int64_t* tags = nullptr;  // null: not wanted
  int64_t first_row = 0;    // added to the piece starts
};

// Used by one thread at a time.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;

  virtual int64_t sequence() const = 0;  // S
  // After so many sequences the data begins anew, in another order. At least 1.
  virtual int64_t sequences_per_epoch() const = 0;
  // Documents' tags are in [0, tags()), −1: none. 0: the data carries none.
  virtual int64_t tags() const { return 0; }
  // Tells one data set from another.
  virtual uint64_t fingerprint() const = 0;

  // Writes sequence n ≥ 0 and appends the rows at which its pieces begin. kBadData names file, document and token for
  // a token that is not in the vocabulary.
  virtual absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) = 0;
  // Counted targets of sequences [begin, end), without reading a token.
  virtual int64_t targets(int64_t begin, int64_t end) = 0;
};

struct SourceOptions {
  int64_t sequence = 512;             // S
  int64_t vocabulary = 0;             // tokens are in [0, vocabulary)
  std::optional<uint64_t> seed = {};  // shuffles the documents of every epoch; none: in the order of the file
  std::string tokenizer_hash = {};    // compared with PREFIX.json where there is one; empty: not compared
};

// `prefix`: of a data set (indexed_dataset.h), or kRandomTokens. kMissingInput, kBadData, kIo.
absl::StatusOr<std::unique_ptr<SequenceSource>> open_sequences(const std::string& prefix, const SourceOptions& options);

}  // namespace switchyard
