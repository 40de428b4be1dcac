#include "layers/moe/router/rules/expected_load.h"

#include <algorithm>
#include <numbers>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

constexpr int64_t kGrain = 256;  // tokens

// By token: `best`, k + 1 of them; the other rows have a number for each expert.
template <typename T>
SY_KERNEL void deviations(const T* logits, const T* scores, const T* spread, const int64_t* best, int64_t k,
                          int64_t experts, T* z) {
  const T of_others = scores[best[k - 1]], of_chosen = scores[best[k]];
  constexpr T kScale = std::numbers::sqrt2_v<T> / 2;
  for (int64_t e = 0; e < experts; ++e) z[e] = (logits[e] - of_others) * kScale / spread[e];
  for (int64_t i = 0; i < k; ++i) z[best[i]] = (logits[best[i]] - of_chosen) * kScale / spread[best[i]];
}

// Of the logits and the spread; `g`: the expected loads' gradient over √(2π).
template <typename L, typename T>
SY_KERNEL void differentiate(const T* z, const T* spread, const T* g, int64_t experts, T* d_logits, T* d_spread) {
  L z_lanes, spread_lanes, g_lanes;
  for (int64_t e = 0; e < experts; e += kLanes<L>) {
    const int64_t count = experts - e;
    load_some(z + e, count, z_lanes);
    load_some(spread + e, count, spread_lanes);
    load_some(g + e, count, g_lanes);
    const L d = g_lanes * exp(z_lanes * z_lanes * -1) / spread_lanes;
    store_some(d_logits + e, count, d);
    store_some(d_spread + e, count, d * z_lanes * -std::numbers::sqrt2_v<T>);
  }
}

// The chosen experts' threshold is the score of expert K + 1, the others' that of expert K.
template <typename T>
SY_KERNEL void differentiate_thresholds(const T* d_logits, const int64_t* best, int64_t k, int64_t experts,
                                        T* d_scores) {
  T all = 0, chosen = 0;
  for (int64_t e = 0; e < experts; ++e) all += d_logits[e];
  for (int64_t i = 0; i < k; ++i) chosen += d_logits[best[i]];
  std::fill(d_scores, d_scores + experts, T(0));
  d_scores[best[k - 1]] = chosen - all;
  d_scores[best[k]] = -chosen;
}

// work(registers, token) for all of them, on all threads.
template <typename Work>
void for_each_token(int64_t tokens, const Work& work) {
  at::parallel_for(0, tokens, kGrain, [&](int64_t begin, int64_t end) {
    with_wide_registers([&](auto registers) __attribute__((always_inline)) {
      for (int64_t t = begin; t < end; ++t) work(registers, t);
    });
  });
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A function of its own because autograd would record some thirty operations on [T,E].
struct ExpectedLoad : torch::autograd::Function<ExpectedLoad> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits_TE, const at::Tensor& scores_TE,
                            const at::Tensor& spread_TE, const at::Tensor& best_TK) {
    const at::Tensor logits = logits_TE.contiguous(), scores = scores_TE.contiguous(), spread = spread_TE.contiguous();
    const at::Tensor best = best_TK.contiguous(), z_TE = at::empty_like(logits);  // over √2
    const int64_t tokens = logits.size(0), experts = logits.size(1), k = best.size(1) - 1;
    AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "expected_load", [&] {
      const auto* l = logits.const_data_ptr<scalar_t>();
      const auto* s = scores.const_data_ptr<scalar_t>();
      const auto* w = spread.const_data_ptr<scalar_t>();
      const int64_t* b = best.const_data_ptr<int64_t>();
      auto* z = z_TE.mutable_data_ptr<scalar_t>();
      for_each_token(
          tokens, [&](auto, int64_t t) __attribute__((always_inline)) {
            const int64_t row = t * experts;
            deviations(l + row, s + row, w + row, b + t * (k + 1), k, experts, z + row);
          });
    });
    context->save_for_backward({z_TE, spread, best});
    return 0.5 * (static_cast<double>(tokens) + at::erf(z_TE).sum(0, false, at::kDouble));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &z_TE = saved[0], &spread_TE = saved[1], &best_TK = saved[2];
    const int64_t tokens = z_TE.size(0), experts = z_TE.size(1), k = best_TK.size(1) - 1;
    const at::Tensor g_E =
        (gradients[0] * (std::numbers::inv_sqrtpi / std::numbers::sqrt2)).to(z_TE.scalar_type()).contiguous();
    const at::Tensor d_TE = at::empty_like(z_TE), d_scores_TE = at::empty_like(z_TE),
                     d_spread_TE = at::empty_like(z_TE);
    AT_DISPATCH_FLOATING_TYPES(z_TE.scalar_type(), "expected_load_backward", [&] {
      const auto* z = z_TE.const_data_ptr<scalar_t>();
      const auto* w = spread_TE.const_data_ptr<scalar_t>();
      const auto* g = g_E.const_data_ptr<scalar_t>();
      const int64_t* b = best_TK.const_data_ptr<int64_t>();
      auto* d = d_TE.mutable_data_ptr<scalar_t>();
      auto* d_scores = d_scores_TE.mutable_data_ptr<scalar_t>();
      auto* d_spread = d_spread_TE.mutable_data_ptr<scalar_t>();
      for_each_token(
          tokens, [&](auto registers, int64_t t) __attribute__((always_inline)) {
            const int64_t row = t * experts;
            differentiate<Lanes<scalar_t, decltype(registers)>>(z + row, w + row, g, experts, d + row, d_spread + row);
            differentiate_thresholds(d + row, b + t * (k + 1), k, experts, d_scores + row);
          });
    });
    return {d_TE, d_scores_TE, d_spread_TE, at::Tensor()};
  }
};

}  // namespace

at::Tensor expected_load(const at::Tensor& logits_TE, const at::Tensor& scores_TE, const at::Tensor& spread_TE,
                         const at::Tensor& best_TK) {
  return ExpectedLoad::apply(logits_TE, scores_TE, spread_TE, best_TK);
}

}  // namespace switchyard
