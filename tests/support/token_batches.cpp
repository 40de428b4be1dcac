#include "tests/support/token_batches.h"

#include <ATen/ATen.h>

#include "parallel/topology/box.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

int64_t other_than(int64_t token, int64_t vocabulary, const CounterRandom& random, int64_t index) {
  const auto drawn = static_cast<int64_t>(random.below(vocabulary - 1, index));
  return drawn < token ? drawn : drawn + 1;
}

}  // namespace

GlobalStep random_step(int64_t sequences, int64_t sequence, int64_t vocabulary, int64_t document_length,
                       uint64_t seed) {
  const int64_t n = sequences * sequence;
  const CounterRandom random(seed, hash_name("test tokens"));
  GlobalStep step{sequence,
                  at::empty({n}, at::kLong),
                  at::empty({n}, at::kLong),
                  at::empty({n}, at::kLong),
                  at::empty({n}, at::kLong),
                  {}};
  int64_t* tokens = step.tokens.mutable_data_ptr<int64_t>();
  int64_t* targets = step.targets.mutable_data_ptr<int64_t>();
  int64_t* positions = step.positions.mutable_data_ptr<int64_t>();
  int64_t* piece = step.piece.mutable_data_ptr<int64_t>();
  for (int64_t t = 0; t < n; ++t) {
    const bool begins = t % sequence == 0 || random.below(document_length, 3 * t) == 0;
    piece[t] = t == 0 ? 0 : piece[t - 1] + begins;
    tokens[t] = begins ? piece[t] % vocabulary : other_than(tokens[t - 1], vocabulary, random, 3 * t + 1);
    targets[t] = static_cast<int64_t>(random.below(vocabulary, 3 * t + 2));
    positions[t] = begins ? 0 : positions[t - 1] + 1;
    if (begins && t % sequence != 0) targets[t - 1] = -1;
  }
  step.tags = at::remainder(step.piece, 4) - 1;
  return step;
}

TokenBatch cut_batch(const GlobalStep& step, int64_t part, int64_t parts, int64_t ranks, int64_t index) {
  const int64_t sequences = step.tokens.numel() / step.sequence;
  const auto [part_begin, part_end] = cut(sequences, parts, part);
  const auto [begin, end] = cut(part_end - part_begin, ranks, index);
  const int64_t first = (part_begin + begin) * step.sequence;
  const int64_t rows = (end - begin) * step.sequence;

  TokenBatch batch;
  batch.sequences = end - begin;
  batch.sequence = step.sequence;
  batch.tokens = step.tokens.narrow(0, first, rows);
  batch.targets = step.targets.narrow(0, first, rows);
  batch.positions = step.positions.narrow(0, first, rows);
  if (step.tags.defined()) batch.tags = step.tags.narrow(0, first, rows);
  const int64_t* piece = step.piece.const_data_ptr<int64_t>() + first;
  for (int64_t t = 0; t < rows; ++t) {
    if (t == 0 || piece[t] != piece[t - 1]) batch.piece_starts.push_back(t);
  }
  batch.piece_starts.push_back(rows);
  batch.first_token = begin * step.sequence;
  batch.part_tokens = (part_end - part_begin) * step.sequence;
  batch.global_targets = step.targets.ge(0).sum().item<int64_t>();
  batch.part = part;
  batch.parts = parts;
  return batch;
}

}  // namespace switchyard
