// The products that a part of a model cannot do without.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace switchyard {

// y = x · weightᵀ of [rows, in] and [out, in], with the gradients of both in backward.
struct WeightProduct {
  int64_t rows, out, in;
};

// FLOPs of their forward and backward: 2 a multiply-add, three products for each weight.
double flops_of(std::span<const WeightProduct> products);

// Computes just them, one after another, in tensors that are allocated once.
class ProductsFloor {
 public:
  // `operands`: their dtype and device; weight gradients are summed as in training.
  ProductsFloor(std::span<const WeightProduct> products, const at::TensorOptions& operands);
  // Forward of all, then backward of all.
  void run();

 private:
  struct Tensors {
    at::Tensor weight_OI, gradient_OI, x_RI, y_RO;
  };
  std::vector<Tensors> products_;
};

}  // namespace switchyard
