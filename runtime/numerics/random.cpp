#include "runtime/numerics/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
// They keep these sequences apart from each other and from bits(i) and uniform(i); below() goes up from
// kNormalSubindex.
constexpr uint64_t kNormalSubindex = 1, kCoarseSubindex = uint64_t{1} << 32;

using Words = std::array<uint32_t, 4>;

SY_KERNEL Words philox(uint64_t low, uint64_t high, std::array<uint32_t, 2> key) {
  uint32_t c0 = static_cast<uint32_t>(low), c1 = static_cast<uint32_t>(low >> 32);
  uint32_t c2 = static_cast<uint32_t>(high), c3 = static_cast<uint32_t>(high >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kMultiplier0} * c0, p1 = uint64_t{kMultiplier1} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key[0];
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key[1];
    c3 = static_cast<uint32_t>(p0);
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

SY_KERNEL uint64_t join(uint32_t low, uint32_t high) {
  return uint64_t{high} << 32 | low;
}

// A bijection that keeps 0 (MurmurHash3's finaliser): neighbouring stream numbers end up far apart.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

// 52 bits to [1, 2), without a conversion that AVX2 lacks.
SY_KERNEL double one_to_two(uint64_t bits) {
  return std::bit_cast<double>((bits >> 12) | 0x3FF0000000000000u);
}

// ln u for u in (0, 1], normal numbers only. u = 2^e · m with m in [√½, √2], ln m = 2·artanh((m−1)/(m+1)).
SY_KERNEL double log_of(double u) {
  const uint64_t bits = std::bit_cast<uint64_t>(u);
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  double e = std::bit_cast<double>((bits >> 52) | 0x4330000000000000u) - (0x1p52 + 1023);
  const bool upper = m > 1.4142135623730951;
  m = upper ? 0.5 * m : m;
  e = upper ? e + 1 : e;
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 1.0 / 21;
  p = std::fma(p, z, 1.0 / 19);
  p = std::fma(p, z, 1.0 / 17);
  p = std::fma(p, z, 1.0 / 15);
  p = std::fma(p, z, 1.0 / 13);
  p = std::fma(p, z, 1.0 / 11);
  p = std::fma(p, z, 1.0 / 9);
  p = std::fma(p, z, 1.0 / 7);
  p = std::fma(p, z, 1.0 / 5);
  p = std::fma(p, z, 1.0 / 3);
  const double log_m = std::fma(2 * s * z, p, 2 * s);
  return std::fma(e, 0.6931471805599453, log_m);
}

// Taylor series, for |x| ≤ π/4.
SY_KERNEL double sine(double x) {
  const double z = x * x;
  double p = 1.0 / 355687428096000.0;
  p = std::fma(p, z, -1.0 / 1307674368000.0);
  p = std::fma(p, z, 1.0 / 6227020800.0);
  p = std::fma(p, z, -1.0 / 39916800.0);
  p = std::fma(p, z, 1.0 / 362880.0);
  p = std::fma(p, z, -1.0 / 5040.0);
  p = std::fma(p, z, 1.0 / 120.0);
  p = std::fma(p, z, -1.0 / 6.0);
  return std::fma(x * z, p, x);
}

SY_KERNEL double cosine(double x) {
  const double z = x * x;
  double p = 1.0 / 20922789888000.0;
  p = std::fma(p, z, -1.0 / 87178291200.0);
  p = std::fma(p, z, 1.0 / 479001600.0);
  p = std::fma(p, z, -1.0 / 3628800.0);
  p = std::fma(p, z, 1.0 / 40320.0);
  p = std::fma(p, z, -1.0 / 720.0);
  p = std::fma(p, z, 1.0 / 24.0);
  p = std::fma(p, z, -0.5);
  return std::fma(z, p, 1.0);
}

// Box–Muller on 128 bits: 52 for the radius, 52 for an angle within ±π/4, one bit each to mirror and to swap.
SY_KERNEL void box_muller(uint64_t a, uint64_t b, double& first, double& second) {
  const double radius = std::sqrt(-2 * log_of(2 - one_to_two(a)));
  const double angle = (one_to_two(b) - 1.5) * 1.5707963267948966;
  const uint64_t sign = a << 63;
  const double x = radius * std::bit_cast<double>(std::bit_cast<uint64_t>(cosine(angle)) ^ sign);
  const double y = radius * sine(angle);
  const bool swap = b & 1;
  first = swap ? y : x;
  second = swap ? x : y;
}

// Philox blocks in a batch.
constexpr uint64_t kBlocks = 64;

// out = numbers begin, begin + 1 … of those that blocks give, kOfBlock each. convert(bits, values) makes a batch of
// them of its blocks' 128 bits. Whole batches and locals only, which the compiler turns into vector code.
template <uint64_t kOfBlock, typename T, typename Convert>
void fill_by_blocks(std::array<uint32_t, 2> key, uint64_t high, uint64_t begin, std::span<T> out,
                    const Convert& convert) {
  constexpr uint64_t kBatch = kOfBlock * kBlocks;
  uint64_t bits[2 * kBlocks];
  T values[kBatch];
  const uint64_t end = begin + out.size();
  for (uint64_t block = begin / kOfBlock; kOfBlock * block < end; block += kBlocks) {
    with_wide_registers([&, key, high ](auto) __attribute__((always_inline)) {
      for (uint64_t i = 0; i < kBlocks; ++i) {
        const Words w = philox(block + i, high, key);
        bits[2 * i] = join(w[0], w[1]);
        bits[2 * i + 1] = join(w[2], w[3]);
      }
      convert(bits, values);
    });
    const uint64_t first = kOfBlock * block, from = std::max(begin, first), to = std::min(end, first + kBatch);
    std::copy(values + (from - first), values + (to - first), out.data() + (from - begin));
  }
}

}  // namespace

uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

// The key is the seed; the stream takes the counter's upper half, to which the subindex is added.
CounterRandom::CounterRandom(uint64_t seed, uint64_t stream)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream_(mix(stream)) {}

Words CounterRandom::words(uint64_t index, uint64_t subindex) const {
  return philox(index, stream_ + subindex, key_);
}

uint64_t CounterRandom::bits(uint64_t index) const {
  const Words w = words(index);
  return join(w[0], w[1]);
}

double CounterRandom::uniform(uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1p-53;
}

double CounterRandom::normal(uint64_t index) const {
  double value;
  normals(index, {&value, 1});
  return value;
}

void CounterRandom::normals(uint64_t begin, std::span<double> out) const {
  fill_by_blocks<2>(
      key_, stream_ + kNormalSubindex, begin, out,
      [](const uint64_t* bits, double* values) __attribute__((always_inline)) {
        for (uint64_t i = 0; i < 2 * kBlocks; i += 2) box_muller(bits[i], bits[i + 1], values[i], values[i + 1]);
      });
}

void CounterRandom::coarse_uniforms(uint64_t begin, std::span<float> out) const {
  fill_by_blocks<8>(
      key_, stream_ + kCoarseSubindex, begin, out,
      [](const uint64_t* bits, float* values) __attribute__((always_inline)) {
        uint16_t drawn[8 * kBlocks];
        std::memcpy(drawn, bits, sizeof(drawn));
        for (uint64_t i = 0; i < 8 * kBlocks; ++i) values[i] = static_cast<float>(drawn[i]) * 0x1p-16f;
      });
}

// Lemire, "Fast random integer generation in an interval" (2019): the product's upper half, redrawn where the lower
// half falls into the incomplete part.
uint64_t CounterRandom::below(uint64_t n, uint64_t index) const {
  SY_CHECK_LT(uint64_t{0}, n);
  const uint64_t incomplete = (0 - n) % n;
  for (uint64_t subindex = kNormalSubindex + 1;; ++subindex) {
    const Words w = words(index, subindex);
    const auto product = static_cast<unsigned __int128>(join(w[0], w[1])) * n;
    if (static_cast<uint64_t>(product) >= incomplete) return static_cast<uint64_t>(product >> 64);
  }
}

}  // namespace switchyard
