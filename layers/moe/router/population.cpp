#include "layers/moe/router/population.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {

int lowest_rank(bool mine, Communicator& ranks) {
  at::Tensor lowest = at::full({1}, mine ? ranks.rank() : ranks.size(), at::kLong);
  throw_if_error(ranks.all_reduce(lowest, ReduceOp::kMin).wait());
  const int rank = static_cast<int>(lowest.item<int64_t>());
  return rank < ranks.size() ? rank : -1;
}

void PopulationSums::add(const std::string& name, const at::Tensor& local) {
  SY_CHECK(local_.emplace(name, local).second);
}

void PopulationSums::reduce(Communicator& ranks) {
  std::vector<at::Tensor> flat;
  for (const auto& [name, local] : local_) flat.push_back(local.detach().to(at::kDouble).reshape({-1}));
  const at::Tensor sums = at::cat(flat);
  if (ranks.size() > 1) throw_if_error(ranks.all_reduce(sums, ReduceOp::kSum).wait());
  ranks_ = ranks.size();
  int64_t offset = 0;
  for (const auto& [name, local] : local_) {
    const at::Tensor whole = sums.narrow(0, offset, local.numel()).view(local.sizes()).clone();
    whole_[name] = whole.set_requires_grad(local.requires_grad() && at::GradMode::is_enabled());
    offset += local.numel();
  }
}

const at::Tensor& PopulationSums::operator[](const std::string& name) const {
  return whole_.at(name);
}

// A rank's gradient is ∂loss/∂sum times that of its own part; the value is split evenly.
at::Tensor PopulationSums::share(const at::Tensor& loss, at::ScalarType dtype) const {
  at::Tensor share = (loss.detach() / ranks_).to(dtype);
  if (!loss.requires_grad()) return share;
  std::vector<at::Tensor> wholes, locals;
  for (const auto& [name, whole] : whole_) {
    if (!whole.requires_grad()) continue;
    wholes.push_back(whole);
    locals.push_back(local_.at(name));
  }
  const std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss}, wholes, {}, /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
  for (size_t i = 0; i < locals.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const at::Tensor linear = (locals[i] * gradients[i].to(locals[i].scalar_type())).sum().to(dtype);
    share = share + (linear - linear.detach());
  }
  return share;
}

}  // namespace switchyard
