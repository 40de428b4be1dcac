#include "layers/moe/router/token_random.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

namespace switchyard {

TokenRandom::TokenRandom(uint64_t seed, const std::string& stream, const TokenContext& context)
    : random_(seed, hash_name(absl::StrCat(stream, "#", context.step))),
      first_(static_cast<uint64_t>(context.part * context.population + context.first_token)) {}

at::Tensor TokenRandom::uniforms(int64_t tokens, int64_t n) const {
  at::Tensor drawn = at::empty({tokens, n}, at::kDouble);
  double* out = drawn.mutable_data_ptr<double>();
  const uint64_t begin = first_ * static_cast<uint64_t>(n);
  for (int64_t i = 0; i < tokens * n; ++i) out[i] = random_.uniform(begin + static_cast<uint64_t>(i));
  return drawn;
}

at::Tensor TokenRandom::normals(int64_t tokens, int64_t n) const {
  at::Tensor drawn = at::empty({tokens, n}, at::kDouble);
  random_.normals(first_ * static_cast<uint64_t>(n),
                  {drawn.mutable_data_ptr<double>(), static_cast<size_t>(tokens * n)});
  return drawn;
}

}  // namespace switchyard
