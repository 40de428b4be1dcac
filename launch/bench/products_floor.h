// The products that a block of experts cannot do without.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

// FLOPs of one forward and backward of `rows` rows: 2 a multiply-add, three products for each matrix.
double expert_flops(int64_t rows, int64_t width, int64_t pre_activation_width, int64_t expert_width);

// Computes just them, expert by expert, in tensors that are allocated once.
class ProductsFloor {
 public:
  // `rows`: of each local expert. `dtype`: of operands; weight gradients are summed as in training.
  ProductsFloor(std::span<const int64_t> rows, int64_t width, int64_t pre_activation_width, int64_t expert_width,
                at::ScalarType dtype);
  void run();

 private:
  struct Expert {
    at::Tensor up_PD, down_DF, up_gradient_PD, down_gradient_DF;  // weights
    at::Tensor x_RD, h_RP, a_RF, y_RD;                            // rows: in, before and after activation, out
  };
  std::vector<Expert> experts_;
};

}  // namespace switchyard
