#include "launch/data/permutation.h"

#include <utility>

namespace switchyard {

Permutation::Permutation(int64_t n, uint64_t seed, uint64_t stream)
    : n_(static_cast<uint64_t>(n)), random_(seed, stream) {
  while ((uint64_t{1} << (2 * half_bits_)) < n_) ++half_bits_;
}

int64_t Permutation::operator()(int64_t index) const {
  uint64_t value = encrypt(static_cast<uint64_t>(index));
  while (value >= n_) value = encrypt(value);
  return static_cast<int64_t>(value);
}

uint64_t Permutation::encrypt(uint64_t value) const {
  constexpr uint64_t kRounds = 6;
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (uint64_t round = 0; round < kRounds; ++round) {
    left ^= random_.words(right, round)[0] & mask;
    std::swap(left, right);
  }
  return left << half_bits_ | right;
}

}  // namespace switchyard
