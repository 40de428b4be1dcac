// Where verification takes its tokens from.
#pragma once

#include <cstdint>
#include <memory>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "launch/data/sequence_source.h"

namespace switchyard {

// Random tokens in documents of uneven length, cut by sequences as real ones are. `tags`: how many there are; each
// document has one, or none. 0: no document has.
std::unique_ptr<SequenceSource> random_documents(int64_t sequence, int64_t vocabulary, int64_t tags, uint64_t seed);

// `source` with token ids modulo `vocabulary`: real documents for a model with a smaller vocabulary.
std::unique_ptr<SequenceSource> folded(std::unique_ptr<SequenceSource> source, int64_t vocabulary);

struct TokenSupply {
  std::string data;             // prefix of a data set; empty: random documents
  int64_t data_vocabulary = 0;  // of the data set
  std::string describe() const;
};

// The config's data, or random documents where it names none (data.train: random). `vocabulary`: what the data is read
// with. kMissingInput for data that is not there. Local.
absl::StatusOr<TokenSupply> find_tokens(const RunConfig& config, int64_t vocabulary);
// For a model of `vocabulary` tokens, which may be fewer. The data set's errors.
absl::StatusOr<std::unique_ptr<SequenceSource>> open_tokens(const TokenSupply& supply, const RunConfig& config,
                                                            int64_t vocabulary);

}  // namespace switchyard
