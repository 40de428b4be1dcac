// Counter-based random numbers (Philox-4×32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11):
// any element of any stream without drawing those before it, so that no draw depends on the layout.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace switchyard {

// FNV-1a, 64 bits: turns a tensor's or a stream's name into part of a key.
uint64_t hash_name(std::string_view name);

class CounterRandom {
 public:
  // One stream per (seed, stream).
  CounterRandom(uint64_t seed, uint64_t stream);

  // Four independent 32-bit words for the counter (index, subindex).
  std::array<uint32_t, 4> words(uint64_t index, uint64_t subindex = 0) const;
  uint64_t bits(uint64_t index) const;
  double uniform(uint64_t index) const;  // in [0, 1), 53 bits
  double normal(uint64_t index) const;   // mean 0, variance 1, at most 8.5 in magnitude
  // out[i] = normal(begin + i), several times faster than one by one.
  void normals(uint64_t begin, std::span<double> out) const;
  // Numbers begin, begin + 1 … of a sequence of its own, in [0, 1), 16 bits, eight to a Philox block: for many at once.
  void coarse_uniforms(uint64_t begin, std::span<float> out) const;
  // Uniform in [0, n), n ≥ 1, without bias.
  uint64_t below(uint64_t n, uint64_t index) const;

 private:
  std::array<uint32_t, 2> key_;
  uint64_t stream_;
};

}  // namespace switchyard
