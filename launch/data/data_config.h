// The `data:` section of a config.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>

#include "runtime/base/status.h"

namespace switchyard {

// In place of a prefix: tokens drawn at random, to measure speed without data.
constexpr char kRandomTokens[] = "random";

struct DataConfig {
  std::string tokenizer;  // unused with random tokens
  std::string train;
  std::string validation;  // empty: no validation
  int64_t validation_sequences = 256;
  int64_t sequence = 512;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("tokenizer", tokenizer, "sentencepiece .model that the data was prepared with");
    v("train", train,
      "data set: the path of its .bin and .idx without these; `random`: random tokens, to measure speed");
    v("validation", validation, "held-out data set, as above; empty: none");
    v("validation_sequences", validation_sequences, "held-out sequences that a validation takes")
        .at_least(0)
        .zero_is("all");
    v("sequence", sequence, "tokens a sequence").at_least(1);
  }

  absl::Status validate() const {
    if (train.empty()) return error(ErrorCategory::kBadConfig, "data.train is not set; give the prefix of a data set");
    if (tokenizer.empty() && train != kRandomTokens) {
      return error(ErrorCategory::kBadConfig, "data.tokenizer is not set; give the .model that the data was made with");
    }
    return absl::OkStatus();
  }
};

}  // namespace switchyard
