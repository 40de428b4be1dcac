// What `switchyard bench layer` is asked to measure.
#pragma once

#include <cstdint>
#include <string>

namespace switchyard {

struct LayerBenchOptions {
  int64_t tokens = 4096;  // a rank
  int64_t width = 512, expert_width = 2048;
  int64_t experts = 8, experts_per_token = 2;
  std::string dispatcher = "all_to_all";  // as parallel.dispatcher
  int chunks = 1;                         // as parallel.dispatch_chunks; 0: auto
  bool shared_memory = true;              // as parallel.shared_memory
  std::string activation = "swiglu";      // swiglu, gelu, relu
  std::string router = "softmax";
  std::string precision = "bf16";  // bf16, fp32, fp64
  int expert_tensor = 1;           // ranks that share an expert; the experts are spread over the others
  // Experts are drawn with probability ~ 1/i^skew for the i-th; 0: as the router, fresh from its initial values, likes.
  double skew = 0;
  int64_t repeats = 11;
  int64_t seed = 1234;
};

}  // namespace switchyard
