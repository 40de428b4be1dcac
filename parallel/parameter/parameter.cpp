#include "parallel/parameter/parameter.h"

#include <utility>

#include <ATen/ATen.h>

#include "runtime/base/check.h"

namespace switchyard {

Parameter::Parameter(std::vector<int64_t> shape, const at::TensorOptions& options, std::vector<Slice> slices)
    : value_(at::empty(shape, options)), slices_(std::move(slices)) {
  SY_CHECK(!slices_.empty());
  int64_t elements = 0;
  for (const Slice& slice : slices_) elements += slice.spec.box.numel();
  SY_CHECK_EQ(elements, value_.numel());
  value_.set_requires_grad(true);
}

at::Tensor Parameter::value_of(const Slice& slice) const {
  return value_.detach().view(-1).narrow(0, slice.offset, slice.spec.box.numel()).view(slice.spec.box.extent);
}

at::Tensor Parameter::gradient_of(const Slice& slice) const {
  return gradient().view(-1).narrow(0, slice.offset, slice.spec.box.numel()).view(slice.spec.box.extent);
}

const at::Tensor& Parameter::gradient() const {
  if (std::exchange(cleared_, false)) gradient_.zero_();
  return gradient_;
}

Parameter::Sum Parameter::next_sum() {
  return {gradient_, !std::exchange(cleared_, false)};
}

void Parameter::accumulated() {
  SY_CHECK_LT(0, pending_);
  if (--pending_ == 0 && ready_) ready_(*this);
}

void Parameter::attach(at::Tensor gradient, std::function<void(Parameter&)> ready) {
  SY_CHECK_EQ(gradient.sizes(), value_.sizes());
  gradient_ = std::move(gradient);
  cleared_ = false;
  ready_ = std::move(ready);
}

void attach_plain_gradients(const ParameterList& parameters) {
  for (Parameter* parameter : parameters) {
    const at::Tensor& value = parameter->value();
    const auto dtype = value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    parameter->attach(at::zeros(value.sizes(), value.options().dtype(dtype).requires_grad(false)), nullptr);
  }
}

}  // namespace switchyard
