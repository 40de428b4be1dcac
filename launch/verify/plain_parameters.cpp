#include "launch/verify/plain_parameters.h"

#include <cmath>

#include <ATen/ATen.h>

#include "parallel/parameter/initialise.h"

namespace switchyard {
namespace {

Slice whole_slice(const std::string& name, const std::vector<int64_t>& shape) {
  Slice slice;
  slice.spec = {.name = name, .shape = shape, .box = Box::whole(shape), .replicated = {}, .partial = {}};
  return slice;
}

at::Tensor new_leaf(const std::vector<int64_t>& shape) {
  at::Tensor leaf = at::zeros(shape, at::kDouble).set_requires_grad(true);
  leaf.mutable_grad() = at::zeros(shape, at::kDouble);
  return leaf;
}

void round_value(PlainParameter& parameter, Precision precision) {
  at::Tensor rounded = parameter.master;
  if (precision != Precision::kFp64) rounded = rounded.to(at::kFloat);
  if (precision == Precision::kBf16) rounded = rounded.to(at::kBFloat16);
  parameter.value.copy_(rounded);
}

}  // namespace

at::Tensor PlainParameters::weight(const std::string& name, std::vector<int64_t> shape, double scale) {
  Slice slice = whole_slice(name, shape);
  slice.scale = scale;
  const at::Tensor leaf = new_leaf(shape);
  add(slice, leaf.detach(), leaf.grad());
  return leaf;
}

at::Tensor PlainParameters::ones(const std::string& name, std::vector<int64_t> shape, bool weight_decay) {
  Slice slice = whole_slice(name, shape);
  slice.initialisation = Initialisation::kOnes;
  slice.weight_decay = weight_decay;
  const at::Tensor leaf = new_leaf(shape);
  add(slice, leaf.detach(), leaf.grad());
  return leaf;
}

void PlainParameters::adopt(const ParameterList& parameters) {
  attach_plain_gradients(parameters);
  for (const Parameter* parameter : parameters) {
    for (const Slice& slice : parameter->slices()) {
      add(slice, parameter->value_of(slice), parameter->gradient_of(slice));
    }
  }
}

void PlainParameters::add(const Slice& slice, at::Tensor value, at::Tensor gradient) {
  const bool fp64 = precision_ == Precision::kFp64;
  const at::Tensor drawn = at::empty(slice.spec.shape, fp64 ? at::kDouble : at::kFloat);
  initialise(slice, slice.spec.box, seed_, drawn);
  all_.push_back({.name = slice.spec.name,
                  .value = std::move(value),
                  .gradient = std::move(gradient),
                  .master = drawn.to(at::kDouble),
                  .m = at::zeros(slice.spec.shape, at::kDouble),
                  .v = at::zeros(slice.spec.shape, at::kDouble),
                  .weight_decay = slice.weight_decay});
  round_value(all_.back(), precision_);
}

void PlainParameters::zero_gradients() {
  for (PlainParameter& parameter : all_) parameter.gradient.zero_();
}

double PlainParameters::gradient_norm() const {
  double squares = 0;
  for (const PlainParameter& parameter : all_) squares += parameter.gradient.square().sum().item<double>();
  return std::sqrt(squares);
}

void PlainParameters::update(const OptimizerConfig& config, int64_t t, double lr, double gradient_scale) {
  const double beta1 = config.betas[0], beta2 = config.betas[1];
  const double correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
  for (PlainParameter& parameter : all_) {
    const at::Tensor g = parameter.gradient * gradient_scale;
    parameter.m = beta1 * parameter.m + (1 - beta1) * g;
    parameter.v = beta2 * parameter.v + (1 - beta2) * g * g;
    const at::Tensor direction = (parameter.m / correction1) / ((parameter.v / correction2).sqrt() + config.epsilon);
    const double decay = parameter.weight_decay ? config.weight_decay : 0.0;
    parameter.master = parameter.master - lr * (direction + decay * parameter.master);
  }
}

void PlainParameters::round_values() {
  for (PlainParameter& parameter : all_) round_value(parameter, precision_);
}

}  // namespace switchyard
