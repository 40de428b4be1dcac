// A random order of the numbers below n without an array: a Feistel network over the next power of four that is walked
// until it lands below n (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
#pragma once

#include <cstdint>

#include "runtime/numerics/random.h"

namespace switchyard {

class Permutation {
 public:
  // One order per (n, seed, stream); n ≥ 1.
  Permutation(int64_t n, uint64_t seed, uint64_t stream);

  // Where `index` of [0, n) goes: a bijection of [0, n).
  int64_t operator()(int64_t index) const;

 private:
  uint64_t encrypt(uint64_t value) const;

  uint64_t n_;
  int half_bits_ = 1;
  CounterRandom random_;
};

}  // namespace switchyard
