// What tests of dispatchers share: batches of many kinds, and a block of experts between dispatch and combine.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/dispatcher.h"
#include "tests/support/global_batch.h"

namespace switchyard {

constexpr int64_t kBlockWidth = 32;
constexpr int64_t kBlockHidden = 48;

struct DispatchCase {
  std::string name;
  at::ScalarType dtype = at::kDouble;
  int64_t tokens = 37;
  int64_t experts = 6;
  int64_t experts_per_token = 2;
  Skew skew = Skew::kUniform;
  bool ragged = false;
  bool idle_rank = false;  // rank 0 holds no tokens

  GlobalBatch batch() const;
  std::pair<int64_t, int64_t> share_of(int ranks, int rank) const;  // of the tokens, [begin, end)
  // Of one value for each slot of the batch, those of these tokens' slots.
  at::Tensor slots_of(const at::Tensor& whole_N, int64_t begin, int64_t end) const;
};

void PrintTo(const DispatchCase& c, std::ostream* out);
std::vector<DispatchCase> dispatch_cases();

// Dispatch, then combine with weights 1 / (slots · expert_tensor), is the identity to the bit, and so is its gradient,
// where slots and expert_tensor are powers of two. `share`: of few significant bits, so that every partial sum is
// exact.
void expect_identity(Dispatcher& dispatcher, const GlobalBatch& share, int expert_tensor);
GlobalBatch with_few_bits(GlobalBatch batch);

struct BlockResult {
  at::Tensor y_TD, dx_TD, dweights_N;
  std::map<int64_t, at::Tensor> rows, dup, ddown;  // by expert id; the gradients of up and down
};

// dispatch → tanh(rows · up) · down for each expert, the hidden width cut over expert_tensor → combine → backward.
BlockResult run_block(Dispatcher& dispatcher, const GlobalBatch& share, const std::vector<int64_t>& experts, int parts,
                      int part);
// The same of the whole batch on one rank.
BlockResult run_whole_block(const DispatchCase& c);

void expect_close(const at::Tensor& a, const at::Tensor& b, const char* what);  // to 1e-9

}  // namespace switchyard
