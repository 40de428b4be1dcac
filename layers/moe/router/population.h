// What the ranks of the routing population find out together. Every call with a communicator is collective and throws
// StatusError.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// The lowest rank with `mine` set; −1: none.
int lowest_rank(bool mine, Communicator& ranks);

// Sums over the population, all in one message, in fp64 and in rank order; and losses that are any function of them.
class PopulationSums {
 public:
  // `local`: this rank's part of the sum, any shape, equal on all ranks; may carry autograd.
  void add(const std::string& name, const at::Tensor& local);
  // Once, after the last add().
  void reduce(Communicator& ranks);
  // The sum, fp64; operations on it are recorded where add()'s were.
  const at::Tensor& operator[](const std::string& name) const;
  // Of `loss`, a scalar computed from sums: this rank's share. The shares of all ranks add up to the loss, and so do
  // their gradients by what the ranks added.
  at::Tensor share(const at::Tensor& loss, at::ScalarType dtype) const;

 private:
  std::map<std::string, at::Tensor> local_;
  std::map<std::string, at::Tensor> whole_;
  int ranks_ = 1;
};

}  // namespace switchyard
