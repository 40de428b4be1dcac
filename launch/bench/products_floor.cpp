#include "launch/bench/products_floor.h"

#include <ATen/ATen.h>

#include "layers/ops/matmul.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

double expert_flops(int64_t rows, int64_t width, int64_t pre_activation_width, int64_t expert_width) {
  return 6.0 * static_cast<double>(rows) * static_cast<double>(width) *
         static_cast<double>(pre_activation_width + expert_width);
}

ProductsFloor::ProductsFloor(std::span<const int64_t> rows, int64_t width, int64_t pre_activation_width,
                             int64_t expert_width, at::ScalarType dtype) {
  const auto random = [&](int64_t m, int64_t n) { return at::randn({m, n}, dtype); };
  const auto sums = [&](int64_t m, int64_t n) { return at::zeros({m, n}, accumulate_dtype(dtype)); };
  for (const int64_t count : rows) {
    experts_.push_back({.up_PD = random(pre_activation_width, width),
                        .down_DF = random(width, expert_width),
                        .up_gradient_PD = sums(pre_activation_width, width),
                        .down_gradient_DF = sums(width, expert_width),
                        .x_RD = random(count, width),
                        .h_RP = random(count, pre_activation_width),
                        .a_RF = random(count, expert_width),
                        .y_RD = random(count, width)});
  }
}

void ProductsFloor::run() {
  for (const Expert& e : experts_) {
    matmul(e.h_RP, e.x_RD, e.up_PD, {.transpose_b = true});
    matmul(e.y_RD, e.a_RF, e.down_DF, {.transpose_b = true});
  }
  for (const Expert& e : experts_) {  // y and h now stand for gradients
    matmul(e.a_RF, e.y_RD, e.down_DF);
    matmul(e.down_gradient_DF, e.y_RD, e.a_RF, {.transpose_a = true, .accumulate = true});
    matmul(e.x_RD, e.h_RP, e.up_PD);
    matmul(e.up_gradient_PD, e.h_RP, e.x_RD, {.transpose_a = true, .accumulate = true});
  }
}

}  // namespace switchyard
