#include "launch/verify/token_sources.h"

#include <filesystem>

#include <absl/strings/str_cat.h>

#include "launch/data/data_config.h"
#include "runtime/base/status.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

class RandomDocuments final : public SequenceSource {
 public:
  RandomDocuments(int64_t sequence, int64_t vocabulary, int64_t tags, uint64_t seed)
      : sequence_(sequence),
        vocabulary_(static_cast<uint64_t>(vocabulary)),
        tag_count_(tags),
        tokens_(seed, hash_name("verify tokens")),
        borders_(seed, hash_name("verify documents")),
        tags_(seed, hash_name("verify tags")) {}

  int64_t sequence() const override { return sequence_; }
  int64_t sequences_per_epoch() const override { return int64_t{1} << 20; }
  int64_t tags() const override { return tag_count_; }
  uint64_t fingerprint() const override { return hash_name("random documents"); }

  int64_t targets(int64_t begin, int64_t end) override {
    int64_t count = 0;
    for (int64_t row = begin * sequence_; row < end * sequence_; ++row) count += !is_last(row);
    return count;
  }

  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override {
    for (int64_t i = 0; i < sequence_; ++i) {
      const int64_t row = n * sequence_ + i;
      const bool begins = i == 0 || is_last(row - 1);
      if (begins) piece_starts.push_back(rows.first_row + i);
      rows.tokens[i] = token(row);
      rows.targets[i] = is_last(row) ? -1 : token(row + 1);
      rows.positions[i] = begins ? 0 : rows.positions[i - 1] + 1;
      if (rows.tags) rows.tags[i] = begins ? tag(row) : rows.tags[i - 1];
    }
    return absl::OkStatus();
  }

 private:
  int64_t token(int64_t row) const { return static_cast<int64_t>(tokens_.below(vocabulary_, row)); }
  // Whether a document ends with this row; one in eight does.
  bool is_last(int64_t row) const { return borders_.below(8, row) == 0; }

  // −1, none, as often as any other.
  int64_t tag(int64_t row) const { return static_cast<int64_t>(tags_.below(tag_count_ + 1, row)) - 1; }

  const int64_t sequence_;
  const uint64_t vocabulary_;
  const int64_t tag_count_;
  const CounterRandom tokens_, borders_, tags_;
};

class FoldedTokens final : public SequenceSource {
 public:
  FoldedTokens(std::unique_ptr<SequenceSource> source, int64_t vocabulary)
      : source_(std::move(source)), vocabulary_(vocabulary) {}

  int64_t sequence() const override { return source_->sequence(); }
  int64_t sequences_per_epoch() const override { return source_->sequences_per_epoch(); }
  int64_t tags() const override { return source_->tags(); }
  uint64_t fingerprint() const override { return source_->fingerprint(); }
  int64_t targets(int64_t begin, int64_t end) override { return source_->targets(begin, end); }

  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override {
    SY_RETURN_IF_ERROR(source_->read(n, rows, piece_starts));
    for (int64_t i = 0; i < sequence(); ++i) {
      rows.tokens[i] %= vocabulary_;
      if (rows.targets[i] >= 0) rows.targets[i] %= vocabulary_;
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<SequenceSource> source_;
  const int64_t vocabulary_;
};

}  // namespace

std::unique_ptr<SequenceSource> random_documents(int64_t sequence, int64_t vocabulary, int64_t tags, uint64_t seed) {
  return std::make_unique<RandomDocuments>(sequence, vocabulary, tags, seed);
}

std::unique_ptr<SequenceSource> folded(std::unique_ptr<SequenceSource> source, int64_t vocabulary) {
  return std::make_unique<FoldedTokens>(std::move(source), vocabulary);
}

std::string TokenSupply::describe() const {
  return data.empty() ? "random tokens in random documents" : data;
}

absl::StatusOr<TokenSupply> find_tokens(const RunConfig& config, int64_t vocabulary) {
  const std::string& train = config.data.train;
  if (train == kRandomTokens) return TokenSupply{};
  std::error_code code;
  if (!std::filesystem::exists(train + ".idx", code)) {
    return error(ErrorCategory::kMissingInput,
                 absl::StrCat("data.train: there is no ", train,
                              ".idx; prepare the data, or verify with random documents by data.train=random"));
  }
  return TokenSupply{train, vocabulary};
}

absl::StatusOr<std::unique_ptr<SequenceSource>> open_tokens(const TokenSupply& supply, const RunConfig& config,
                                                            int64_t vocabulary) {
  const auto seed = static_cast<uint64_t>(config.run.seed);
  if (supply.data.empty()) {
    const RouterConfig& router = config.model.moe.router;
    const int64_t tags = router.kind == "supervised" ? router.labels : 0;
    return random_documents(config.data.sequence, vocabulary, tags, seed);
  }
  SY_ASSIGN_OR_RETURN(auto source, open_sequences(supply.data, {.sequence = config.data.sequence,
                                                                .vocabulary = supply.data_vocabulary,
                                                                .seed = seed,
                                                                .tokenizer_hash = {}}));
  return vocabulary < supply.data_vocabulary ? folded(std::move(source), vocabulary) : std::move(source);
}

}  // namespace switchyard
