#include "layers/moe/router/selection.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include "layers/moe/router/largest.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

at::Tensor offsets_of(const at::Tensor& counts_T) {
  at::Tensor offsets = at::zeros({counts_T.size(0) + 1}, at::kLong);
  offsets.narrow(0, 1, counts_T.size(0)).copy_(at::cumsum(counts_T, 0));
  return offsets;
}

// DeepSeek-V3's guard against scores that have all underflowed.
constexpr double kSmallest = 1e-20;

}  // namespace

Choice top_k(const at::Tensor& scores_TE, int64_t k) {
  const at::Tensor scores = scores_TE.detach().contiguous();
  const int64_t tokens = scores.size(0), experts = scores.size(1);
  SY_CHECK(scores.is_cpu());
  SY_CHECK_LE(k, experts);
  at::Tensor ids_N = at::empty({tokens * k}, at::kLong);
  int64_t* ids = ids_N.mutable_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(scores.scalar_type(), "top_k", [&] {
    const scalar_t* values = scores.const_data_ptr<scalar_t>();
    at::parallel_for(0, tokens, 256, [&](int64_t first, int64_t last) {
      std::vector<scalar_t> scratch(largest_scratch<scalar_t>(experts));
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        largest<Lanes<scalar_t, decltype(registers)>>(values + first * experts, last - first, experts, k,
                                                      scratch.data(), ids + first * k);
      });
    });
  });
  return {.offsets = at::arange(0, (tokens + 1) * k, k, at::kLong), .experts = ids_N, .kept = {}};
}

Choice choice_of(const at::Tensor& chosen_TE) {
  return {
      .offsets = offsets_of(chosen_TE.sum(1)), .experts = chosen_TE.nonzero().select(1, 1).contiguous(), .kept = {}};
}

at::Tensor slot_tokens(const Choice& choice) {
  return at::repeat_interleave(at::diff(choice.offsets));
}

Choice filter(const Choice& choice, const at::Tensor& kept_N) {
  const at::Tensor counts = at::zeros({choice.offsets.size(0) - 1}, at::kLong);
  counts.index_add_(0, slot_tokens(choice), kept_N.to(at::kLong));
  return {.offsets = offsets_of(counts), .experts = choice.experts.masked_select(kept_N), .kept = {}};
}

at::Tensor at_slots(const at::Tensor& values_TE, const Choice& choice) {
  const at::Tensor places = slot_tokens(choice) * values_TE.size(1) + choice.experts;
  return values_TE.reshape(-1).index_select(0, places);
}

at::Tensor normalise(const at::Tensor& values_N, const Choice& choice) {
  const at::Tensor tokens = slot_tokens(choice);
  const at::Tensor sums_T = at::zeros({choice.offsets.size(0) - 1}, values_N.options()).index_add(0, tokens, values_N);
  return values_N / (sums_T + kSmallest).index_select(0, tokens);
}

}  // namespace switchyard
