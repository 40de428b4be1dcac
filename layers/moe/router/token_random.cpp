#include "layers/moe/router/token_random.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>

#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

constexpr int64_t kGrain = 8192;  // numbers

}  // namespace

TokenRandom::TokenRandom(uint64_t seed, const std::string& stream, const TokenContext& context)
    : random_(seed, hash_name(absl::StrCat(stream, "#", context.step))),
      first_(static_cast<uint64_t>(context.part * context.population + context.first_token)) {}

at::Tensor TokenRandom::uniforms(int64_t tokens, int64_t n, double low, double high, at::ScalarType dtype) const {
  at::Tensor drawn = at::empty({tokens, n}, dtype);
  const uint64_t first = first_ * static_cast<uint64_t>(n);
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, dtype, "uniforms", [&] {
    using Wide = at::opmath_type<scalar_t>;
    const Wide from = static_cast<Wide>(low), range = static_cast<Wide>(high - low);
    auto* out = drawn.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, tokens * n, kGrain, [&](int64_t begin, int64_t end) {
      std::array<float, 1024> units;
      for (int64_t at = begin; at < end; at += units.size()) {
        const int64_t count = std::min<int64_t>(units.size(), end - at);
        random_.coarse_uniforms(first + static_cast<uint64_t>(at), {units.data(), static_cast<size_t>(count)});
        with_wide_registers([&](auto) __attribute__((always_inline)) {
          for (int64_t i = 0; i < count; ++i) out[at + i] = static_cast<scalar_t>(from + range * units[i]);
        });
      }
    });
  });
  return drawn;
}

double TokenRandom::uniform(int64_t token, int64_t n, int64_t i) const {
  return random_.uniform((first_ + static_cast<uint64_t>(token)) * static_cast<uint64_t>(n) + static_cast<uint64_t>(i));
}

at::Tensor TokenRandom::normals(int64_t tokens, int64_t n) const {
  at::Tensor drawn = at::empty({tokens, n}, at::kDouble);
  double* out = drawn.mutable_data_ptr<double>();
  const uint64_t first = first_ * static_cast<uint64_t>(n);
  at::parallel_for(0, tokens * n, kGrain, [&](int64_t begin, int64_t end) {
    random_.normals(first + static_cast<uint64_t>(begin), {out + begin, static_cast<size_t>(end - begin)});
  });
  return drawn;
}

}  // namespace switchyard
