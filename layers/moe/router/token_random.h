// Random numbers for tokens that do not depend on which rank holds them: keyed by (seed, stream, step, global token
// index within the step).
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "layers/moe/token_context.h"
#include "runtime/numerics/random.h"

namespace switchyard {

class TokenRandom {
 public:
  // `stream`: names the use, and with it the layer.
  TokenRandom(uint64_t seed, const std::string& stream, const TokenContext& context);

  // [tokens, n] in fp64, for this rank's tokens: in [0, 1), or normal with mean 0 and variance 1.
  at::Tensor uniforms(int64_t tokens, int64_t n) const;
  at::Tensor normals(int64_t tokens, int64_t n) const;

 private:
  CounterRandom random_;
  uint64_t first_;
};

}  // namespace switchyard
