#include "layers/moe/router/token_random.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>

namespace switchyard {
namespace {

constexpr int64_t kGrain = 8192;  // numbers

}  // namespace

TokenRandom::TokenRandom(uint64_t seed, const std::string& stream, const TokenContext& context)
    : random_(seed, hash_name(absl::StrCat(stream, "#", context.step))),
      first_(static_cast<uint64_t>(context.part * context.population + context.first_token)) {}

at::Tensor TokenRandom::uniforms(int64_t tokens, int64_t n) const {
  at::Tensor drawn = at::empty({tokens, n}, at::kDouble);
  double* out = drawn.mutable_data_ptr<double>();
  const uint64_t first = first_ * static_cast<uint64_t>(n);
  at::parallel_for(0, tokens * n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = random_.uniform(first + static_cast<uint64_t>(i));
  });
  return drawn;
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
