#include "launch/train/flops.h"

#include <ATen/ATen.h>
#include <absl/time/clock.h>

#include "layers/ops/matmul.h"
#include "runtime/device/device.h"

namespace switchyard {

double flops_per_token(const DecoderConfig& config, int64_t vocabulary, int64_t sequence) {
  const auto projections = [](const std::string& activation) { return activation == "swiglu" ? 3 : 2; };
  const AttentionConfig& attention = config.attention;
  const double head_rows = 2.0 * static_cast<double>(attention.heads + attention.kv_heads) * attention.head_width;
  const MoeConfig& moe = config.moe;

  double weights = static_cast<double>(vocabulary) * config.width;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    weights += head_rows * config.width;
    if (config.is_moe_layer(layer)) {
      const double experts = static_cast<double>(moe.experts_per_token + moe.shared_experts);
      weights += experts * projections(moe.activation) * moe.expert_width * config.width;
      weights += static_cast<double>(moe.experts) * config.width;
    } else {
      weights +=
          static_cast<double>(projections(config.feed_forward.activation)) * config.feed_forward.width * config.width;
    }
  }
  const double context = static_cast<double>(sequence) / 2;
  const double scores = 2.0 * context * attention.heads * attention.head_width * config.layers;
  return 6.0 * (weights + scores);
}

double measure_peak(const at::TensorOptions& options, double seconds) {
  const int64_t size = options.device().is_cuda() ? 8192 : 1024;  // that fills the device
  const at::Tensor a = at::randn({size, size}, options);
  const at::Tensor b = at::randn({size, size}, options);
  const at::Tensor out = at::empty({size, size}, options);
  double best = 0;
  synchronise(options.device());
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  do {
    const absl::Time start = absl::Now();
    matmul(out, a, b, {.transpose_b = true});
    synchronise(options.device());
    const double flops = 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size);
    best = std::max(best, flops / absl::ToDoubleSeconds(absl::Now() - start));
  } while (absl::Now() < end);
  return best;
}

}  // namespace switchyard
