#include "layers/moe/router/population_top.h"

#include <bit>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr int kDigitBits = 8;
constexpr int64_t kDigits = 1 << kDigitBits;

// Unsigned keys in the order of the scores.
template <typename Unsigned, typename T>
std::vector<uint64_t> ordered_keys(const at::Tensor& scores_N) {
  constexpr Unsigned kSign = Unsigned{1} << (8 * sizeof(Unsigned) - 1);
  std::vector<uint64_t> keys(scores_N.numel());
  const T* scores = scores_N.const_data_ptr<T>();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (std::isnan(scores[i])) continue;                          // 0: below all numbers
    const auto bits = std::bit_cast<Unsigned>(scores[i] + T(0));  // −0 is 0
    keys[i] = (bits & kSign) != 0 ? static_cast<Unsigned>(~bits) : (bits | kSign);
  }
  return keys;
}

void sum_over(std::vector<int64_t>& values, Communicator& ranks) {
  if (ranks.size() == 1) return;
  at::Tensor sums = at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong);
  throw_if_error(ranks.all_reduce(sums, ReduceOp::kSum).wait());
}

// Sums of `mine` over the ranks before this one.
std::vector<int64_t> sums_before(std::vector<int64_t> mine, Communicator& ranks) {
  const int64_t n = static_cast<int64_t>(mine.size());
  std::vector<int64_t> all(n * ranks.size());
  const std::vector<int64_t> rows(ranks.size(), 1);
  throw_if_error(ranks
                     .all_gather(at::from_blob(mine.data(), {1, n}, at::kLong),
                                 at::from_blob(all.data(), {ranks.size(), n}, at::kLong), rows)
                     .wait());
  std::vector<int64_t> before(n);
  for (int r = 0; r < ranks.rank(); ++r) {
    for (int64_t i = 0; i < n; ++i) before[i] += all[r * n + i];
  }
  return before;
}

// Of each expert: the key of its worst candidate that is taken, and how many with that very key are.
struct Thresholds {
  std::vector<uint64_t> key;
  std::vector<int64_t> ties;
};

// Digit by digit from the top: the digit in which the limit falls is that of the threshold.
Thresholds find_thresholds(const int64_t* experts, const std::vector<uint64_t>& keys, int key_bits,
                           int64_t expert_count, int64_t limit, Communicator& ranks) {
  Thresholds found{std::vector<uint64_t>(expert_count), std::vector<int64_t>(expert_count, limit)};
  for (int shift = key_bits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    std::vector<int64_t> counts(expert_count * kDigits);
    for (size_t i = 0; i < keys.size(); ++i) {
      // All digits above this one; nothing on the first round, where the shift would be the key's whole width.
      const bool matches = shift + kDigitBits >= key_bits || (keys[i] >> (shift + kDigitBits)) == found.key[experts[i]];
      if (matches) ++counts[experts[i] * kDigits + ((keys[i] >> shift) & (kDigits - 1))];
    }
    sum_over(counts, ranks);
    for (int64_t e = 0; e < expert_count; ++e) {
      int64_t digit = kDigits - 1;
      for (; digit > 0 && found.ties[e] > counts[e * kDigits + digit]; --digit) {
        found.ties[e] -= counts[e * kDigits + digit];
      }
      found.key[e] = found.key[e] << kDigitBits | static_cast<uint64_t>(digit);
    }
  }
  return found;
}

}  // namespace

at::Tensor population_top(const at::Tensor& experts_N, const at::Tensor& scores_N, int64_t experts, int64_t limit,
                          Communicator& ranks) {
  const at::Tensor ids_N = experts_N.contiguous();
  SY_CHECK(ids_N.is_cpu() && (!scores_N.defined() || scores_N.is_cpu()));
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  const int64_t candidates = ids_N.numel();
  std::vector<uint64_t> keys(candidates);
  Thresholds thresholds{std::vector<uint64_t>(experts), std::vector<int64_t>(experts, limit)};
  if (scores_N.defined()) {
    SY_CHECK_EQ(scores_N.numel(), candidates);
    const at::Tensor scores = scores_N.detach().contiguous();
    const bool single = scores.scalar_type() == at::kFloat;
    keys = single ? ordered_keys<uint32_t, float>(scores) : ordered_keys<uint64_t, double>(scores);
    thresholds = find_thresholds(ids, keys, single ? 32 : 64, experts, limit, ranks);
  }

  std::vector<int64_t> ties(experts);
  for (int64_t i = 0; i < candidates; ++i) ties[ids[i]] += keys[i] == thresholds.key[ids[i]];
  std::vector<int64_t> taken = sums_before(std::move(ties), ranks);
  at::Tensor kept_N = at::empty({candidates}, at::kBool);
  bool* kept = kept_N.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < candidates; ++i) {
    const int64_t e = ids[i];
    const bool ties_with = keys[i] == thresholds.key[e];
    kept[i] = keys[i] > thresholds.key[e] || (ties_with && taken[e]++ < thresholds.ties[e]);
  }
  return kept_N;
}

}  // namespace switchyard
