// A parameter: the storage that the products want (stacked or fused), cut into logical slices with one spec each.
// Gradients never pass through autograd's leaves: an operation that used the parameter adds its gradient to the
// parameter's (fp32, or fp64 under precision fp64) and reports it, so that the reducer can start as soon as the last
// use of the last part is done.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/topology/shard_spec.h"

namespace switchyard {

enum class Initialisation { kNormal, kOnes, kZeros };

// One logical tensor inside the storage: the `box.numel()` contiguous elements from `offset`, in the box's row-major
// order.
struct Slice {
  ShardSpec spec;
  int64_t offset = 0;
  Initialisation initialisation = Initialisation::kNormal;
  double scale = 0.02;       // standard deviation for kNormal
  bool weight_decay = true;  // norms and biases: false
};

class Parameter {
 public:
  // `shape`: of the local storage. Value is allocated (uninitialised) with the dtype and on the device of `options`, a
  // dtype alone being on the host; gradient is attached by the reducer.
  Parameter(std::vector<int64_t> shape, const at::TensorOptions& options, std::vector<Slice> slices);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  // A leaf that requires grad, so that operations on it are recorded; its own .grad() stays undefined.
  const at::Tensor& value() const { return value_; }
  // What has been added since it was cleared, zeros if nothing was; as attached before that. Same shape as value.
  // Undefined until attached.
  const at::Tensor& gradient() const;
  std::span<const Slice> slices() const { return slices_; }
  const std::string& name() const { return slices_.front().spec.name; }

  at::Tensor value_of(const Slice& slice) const;  // view with the box's shape
  at::Tensor gradient_of(const Slice& slice) const;

  // By operations. recorded(): a forward whose backward will come (grad mode on). accumulated(): that backward has
  // added to gradient().
  void recorded() { ++pending_; }
  void accumulated();
  // Instead of gradient(), for an operation that writes all of it where nothing has been added yet (`add`: false),
  // before anybody else reads it, which spares the zeroing.
  struct Sum {
    at::Tensor tensor;
    bool add;
  };
  Sum next_sum();

  // By the reducer. `ready` is called when no recorded use is pending any more.
  void attach(at::Tensor gradient, std::function<void(Parameter&)> ready);
  void report_to_nobody() { ready_ = nullptr; }
  // The gradient counts as zero from here on, whatever it holds.
  void clear_gradient() { cleared_ = true; }

 private:
  at::Tensor value_;
  at::Tensor gradient_;
  mutable bool cleared_ = false;
  std::vector<Slice> slices_;
  std::function<void(Parameter&)> ready_;
  int pending_ = 0;
};

// Non-owning, in the order in which forward uses them.
using ParameterList = std::vector<Parameter*>;

// Attaches a plain zeroed gradient (fp64 for fp64 values, else fp32) of its own to every parameter; no reduction. For
// tests and one-rank tools.
void attach_plain_gradients(const ParameterList& parameters);

}  // namespace switchyard
