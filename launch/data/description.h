// PREFIX.json beside PREFIX.bin and PREFIX.idx: what a data set was made from and with. Megatron's own have none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/base/status.h"

namespace switchyard {

struct DataDescription {
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t vocabulary_size = 0;
  std::string tokenizer;       // the path that was given, or the name of the model that was trained
  std::string tokenizer_hash;  // Tokenizer::hash()
  // The settings of `prepare`.
  std::vector<std::string> inputs;
  std::string format;
  int64_t max_length = 0;
  double validation_fraction = 0;
  std::string tag_by;
  std::vector<std::string> tags;  // names of the tags (document_tags.h) 0, 1, …; empty: none
  // Of a held-out set: unigram_loss (unigram.h) under the counts of the set it was held out from.
  std::optional<double> unigram_loss;
};

std::string to_json(const DataDescription& description);

// Nothing where PREFIX.json does not exist; kBadData where it is damaged.
absl::StatusOr<std::optional<DataDescription>> read_description(const std::string& prefix);

// kBadData where PREFIX.json says that the tokens were made with another tokenizer.
absl::Status check_tokenizer(const std::string& prefix, const std::string& tokenizer_hash);

}  // namespace switchyard
