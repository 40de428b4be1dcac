// The reference's parameters: whole logical tensors in fp64, by name, with an AdamW of their own, written out.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/optimizer/config.h"
#include "parallel/parameter/parameter.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

struct PlainParameter {
  std::string name;
  at::Tensor value;     // what the model computes with: the master, rounded as the run's precision does
  at::Tensor gradient;  // accumulated by backward
  at::Tensor master, m, v;
  bool weight_decay = true;
};

class PlainParameters {
 public:
  // `seed`: of the initial values, which are the layout's: drawn by name, kept in fp32 unless the run is in fp64.
  PlainParameters(Precision precision, uint64_t seed) : precision_(precision), seed_(seed) {}

  // A new tensor, of which the result is the autograd leaf.
  at::Tensor weight(const std::string& name, std::vector<int64_t> shape, double scale);
  // `weight_decay`: norms have none.
  at::Tensor ones(const std::string& name, std::vector<int64_t> shape, bool weight_decay);
  // Those of a module on a mesh of one rank, built in fp64; attaches their gradients. They outlive this object.
  void adopt(const ParameterList& parameters);

  std::deque<PlainParameter>& all() { return all_; }

  void zero_gradients();
  double gradient_norm() const;
  // Update number `t` (from 1) from the gradients times `gradient_scale`.
  void update(const OptimizerConfig& config, int64_t t, double lr, double gradient_scale);
  // After the masters were written.
  void round_values();

 private:
  void add(const Slice& slice, at::Tensor value, at::Tensor gradient);

  const Precision precision_;
  const uint64_t seed_;
  std::deque<PlainParameter> all_;
};

}  // namespace switchyard
