// `switchyard prepare`: text to a tokenised data set. Writes PREFIX.bin and PREFIX.idx (indexed_dataset.h), PREFIX.json
// (description.h), PREFIX.model where a tokenizer is trained, and PREFIX.validation.{bin,idx,json} where documents are
// held out; the last then holds their unigram loss; where documents have tags, PREFIX.tags as well. Every document ends
// with </s>. The same options and inputs give the same bytes on any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/base/status.h"

namespace switchyard {

struct PrepareProgress {
  std::string stage;
  int64_t bytes_read = 0;  // of the input files as stored
  int64_t bytes_total = 0;
  int64_t documents = 0;
  int64_t tokens = 0;
};

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and folders
  std::string output;               // PREFIX; its folder is made where it does not exist
  std::string tokenizer;            // a .model; empty: train one
  int64_t vocabulary_size = 8192;   // of the tokenizer to train
  double character_coverage = 0.9995;
  std::string format = "text";     // text: one document a file; jsonl: one a line
  int64_t max_length = 0;          // longer documents are cut into documents of at most so many tokens; 0: never
  double validation_fraction = 0;  // of the documents, chosen by a hash of their text
  std::string tag_by;              // text: tag documents by the name of their "folder" or "file"; empty: not at all
  int64_t threads = 0;             // 0: as many as there are cores
  std::function<void(const PrepareProgress&)> progress;
};

struct PrepareReport {
  int64_t documents = 0;  // in PREFIX, after cutting
  int64_t tokens = 0;
  int64_t validation_documents = 0;
  int64_t validation_tokens = 0;
  std::optional<double> unigram_loss = std::nullopt;  // of the held-out documents (unigram.h)
  int64_t text_bytes = 0;                             // of both
  int64_t vocabulary_size = 0;
  std::string tokenizer;  // the path of the .model
};

// kUsage for options that contradict, kMissingInput, kBadData (file, line, byte), kIo. After an error nothing new
// stands under the final names, unless the renames at the very end failed.
absl::StatusOr<PrepareReport> prepare(const PrepareOptions& options);

}  // namespace switchyard
