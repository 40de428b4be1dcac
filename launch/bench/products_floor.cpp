#include "launch/bench/products_floor.h"

#include <cmath>

#include <ATen/ATen.h>

#include "layers/ops/matmul.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

double flops_of(std::span<const WeightProduct> products) {
  double flops = 0;
  for (const auto& [rows, out, in] : products) {
    flops += 6.0 * static_cast<double>(rows) * static_cast<double>(out) * static_cast<double>(in);
  }
  return flops;
}

ProductsFloor::ProductsFloor(std::span<const WeightProduct> products, const at::TensorOptions& operands) {
  const auto sums = operands.dtype(accumulate_dtype(c10::typeMetaToScalarType(operands.dtype())));
  for (const auto& [rows, out, in] : products) {
    // Forward and backward, again and again, let values neither grow nor vanish.
    const double norm = std::sqrt(static_cast<double>(out)) + std::sqrt(static_cast<double>(in));
    products_.push_back({.weight_OI = at::randn({out, in}, operands).div_(norm),
                         .gradient_OI = at::zeros({out, in}, sums),
                         .x_RI = at::randn({rows, in}, operands),
                         .y_RO = at::randn({rows, out}, operands)});
  }
}

void ProductsFloor::run() {
  for (const Tensors& p : products_) matmul(p.y_RO, p.x_RI, p.weight_OI, {.transpose_b = true});
  for (auto p = products_.rbegin(); p != products_.rend(); ++p) {  // y now stands for its gradient, x for its own
    matmul(p->gradient_OI, p->y_RO, p->x_RI, {.transpose_a = true, .accumulate = true});
    matmul(p->x_RI, p->y_RO, p->weight_OI);
  }
}

}  // namespace switchyard
