// A parameter of one slice that this rank holds whole, with a zeroed gradient, for tests of single operations.
#pragma once

#include <memory>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "parallel/parameter/parameter.h"

namespace switchyard {

inline std::unique_ptr<Parameter> whole_parameter(const at::Tensor& value) {
  Slice slice;
  slice.spec.name = "parameter";
  slice.spec.shape = value.sizes().vec();
  slice.spec.box = Box::whole(slice.spec.shape);
  auto parameter =
      std::make_unique<Parameter>(value.sizes().vec(), value.options(), std::vector<Slice>{std::move(slice)});
  const at::NoGradGuard no_grad;
  parameter->value().copy_(value);
  attach_plain_gradients({parameter.get()});
  return parameter;
}

inline at::Tensor leaf(const at::Tensor& value) {
  return value.detach().clone().set_requires_grad(true);
}

inline double max_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

// Whether |a − exact| ≤ relative·|exact| + absolute everywhere.
inline bool close(const at::Tensor& a, const at::Tensor& exact, double relative, double absolute) {
  const at::Tensor reference = exact.detach().to(at::kDouble);
  const at::Tensor excess = (a.detach().to(at::kDouble) - reference).abs() - relative * reference.abs() - absolute;
  return a.sizes() == exact.sizes() && (a.numel() == 0 || excess.max().item<double>() <= 0);
}

}  // namespace switchyard
