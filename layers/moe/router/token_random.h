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

  // For this rank's tokens, [tokens, n]: in fp64 normal with mean 0 and variance 1; in `dtype` (bf16, fp32 or fp64)
  // uniform in [low, high), with 16 random bits each.
  at::Tensor normals(int64_t tokens, int64_t n) const;
  at::Tensor uniforms(int64_t tokens, int64_t n, double low, double high, at::ScalarType dtype) const;
  // Number i of n of a token, in [0, 1), 53 bits.
  double uniform(int64_t token, int64_t n, int64_t i) const;

 private:
  CounterRandom random_;
  uint64_t first_;
};

}  // namespace switchyard
