#include "launch/data/sequence_source.h"

#include <utility>

#include "launch/data/data_config.h"
#include "launch/data/description.h"
#include "launch/data/token_stream.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

// Every sequence is one document of S + 1 tokens, each drawn on its own.
class RandomTokens final : public SequenceSource {
 public:
  explicit RandomTokens(const SourceOptions& options)
      : sequence_(options.sequence),
        vocabulary_(static_cast<uint64_t>(options.vocabulary)),
        random_(options.seed.value_or(0), hash_name("random tokens")) {}

  int64_t sequence() const override { return sequence_; }
  int64_t sequences_per_epoch() const override { return int64_t{1} << 20; }
  uint64_t fingerprint() const override { return hash_name(kRandomTokens); }
  int64_t targets(int64_t begin, int64_t end) override { return (end - begin) * sequence_; }

  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override {
    const auto token = [&](int64_t i) {
      return static_cast<int64_t>(random_.below(vocabulary_, static_cast<uint64_t>(n * (sequence_ + 1) + i)));
    };
    for (int64_t i = 0; i < sequence_; ++i) {
      rows.tokens[i] = i == 0 ? token(0) : rows.targets[i - 1];
      rows.targets[i] = token(i + 1);
      rows.positions[i] = i;
    }
    piece_starts.push_back(rows.first_row);
    return absl::OkStatus();
  }

 private:
  const int64_t sequence_;
  const uint64_t vocabulary_;
  const CounterRandom random_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SequenceSource>> open_sequences(const std::string& prefix,
                                                               const SourceOptions& options) {
  if (prefix == kRandomTokens) return std::make_unique<RandomTokens>(options);
  SY_ASSIGN_OR_RETURN(IndexedDataset data, IndexedDataset::open(prefix));
  if (!options.tokenizer_hash.empty()) SY_RETURN_IF_ERROR(check_tokenizer(prefix, options.tokenizer_hash));
  SY_ASSIGN_OR_RETURN(std::optional<DocumentTags> tags, DocumentTags::open(prefix, data.documents()));
  return TokenStream::create(std::move(data), std::move(tags), options);
}

}  // namespace switchyard
