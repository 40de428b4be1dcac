#include "layers/moe/expert_block.h"

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>

#include "layers/ops/grouped_matmul.h"
#include "layers/ops/matmul.h"
#include "runtime/base/check.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {
namespace {

at::Tensor room_like(const ExpertBlock& block, const at::Tensor& rows_RD) {
  const bool shared = block.memory && rows_RD.is_cpu();
  return shared ? block.memory->allocate(rows_RD.size(0), rows_RD.size(1), rows_RD.options())
                : at::empty(rows_RD.sizes(), rows_RD.options());
}

// Expert e's matrix; all have the same one where the stack has but one.
int64_t matrix_of(int64_t e, const at::Tensor& stacked) {
  return stacked.size(0) == 1 ? 0 : e;
}
at::Tensor of_expert(const at::Tensor& stacked, int64_t e) {
  return stacked[matrix_of(e, stacked)];
}

// The gradient of stacked matrices on its way: an expert's product is added to its matrix, or written where it is the
// first; a matrix that gets none in the end is zeroed.
class StackedSum {
 public:
  explicit StackedSum(Parameter& stacked) : sum_(stacked.next_sum()), begun_(sum_.tensor.size(0), sum_.add) {}

  void add_product(int64_t e, const at::Tensor& g_RM, const at::Tensor& x_RN) {
    const at::Tensor matrix = of_expert(sum_.tensor, e);
    std::vector<bool>::reference begun = begun_[matrix_of(e, sum_.tensor)];
    matmul(matrix, g_RM, x_RN, {.transpose_a = true, .accumulate = begun});
    begun = true;
  }
  void finish() {
    for (size_t e = 0; e < begun_.size(); ++e) {
      if (!begun_[e]) sum_.tensor[static_cast<int64_t>(e)].zero_();
    }
  }

 private:
  const Parameter::Sum sum_;
  std::vector<bool> begun_;
};

// Both stacks' gradients on their way.
class WeightSums {
 public:
  explicit WeightSums(const ExpertBlock& block) : up_(block.up), down_(block.down) {}

  void add_products(int64_t e, const at::Tensor& x, const at::Tensor& g, const at::Tensor& activated,
                    const at::Tensor& d) {
    down_.add_product(e, g, activated);
    up_.add_product(e, d, x);
  }
  void finish() {
    down_.finish();
    up_.finish();
  }

 private:
  StackedSum up_, down_;
};

// For all rows, or for one expert's at a time, so that it stays in the cache.
at::Tensor room(const at::Tensor& rows_RD, int64_t width, std::span<const int64_t> counts, bool all) {
  return at::empty({all ? rows_RD.size(0) : *std::max_element(counts.begin(), counts.end()), width}, rows_RD.options());
}

// Apart from the products in a split of time.
void activate(const ExpertBlock& block, const at::Tensor& h_RP, const at::Tensor& activated_RF) {
  in_span("activation", [&] { activation_forward(block.activation, h_RP, activated_RF); });
}
// `g_RF`: the gradient of what was activated, which is computed again in its place.
void differentiate_activation(const ExpertBlock& block, const at::Tensor& h_RP, const at::Tensor& g_RF,
                              const at::Tensor& d_RP) {
  in_span("activation backward", [&] { activation_backward(block.activation, h_RP, g_RF, d_RP, g_RF); });
}

// Whether it is too large to be found in a core's caches again.
bool streamed(const at::Tensor& result) {
  constexpr int64_t kBytes = 8 << 20;
  return static_cast<int64_t>(result.nbytes()) >= kBytes;
}

// On a device the whole block goes through each product at once: memory is wide, and launches are what costs.
at::Tensor compute_together(const ExpertBlock& block, const at::Tensor& rows_RD, std::span<const int64_t> counts,
                            const at::Tensor& h_RP) {
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const at::Tensor activated_RF = at::empty({rows_RD.size(0), down_EDF.size(2)}, rows_RD.options());
  at::Tensor y_RD = at::empty(rows_RD.sizes(), rows_RD.options());
  grouped_matmul(h_RP, rows_RD, up_EPD, counts, /*transpose_w=*/true);
  activate(block, h_RP, activated_RF);
  grouped_matmul(y_RD, activated_RF, down_EDF, counts, /*transpose_w=*/true);
  return y_RD;
}

at::Tensor differentiate_together(const ExpertBlock& block, const at::Tensor& rows_RD, at::Tensor h_RP,
                                  const at::Tensor& g_RD, std::span<const int64_t> counts, bool want_rows) {
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  if (!h_RP.defined()) {
    h_RP = at::empty({rows_RD.size(0), up_EPD.size(1)}, rows_RD.options());
    grouped_matmul(h_RP, rows_RD, up_EPD, counts, /*transpose_w=*/true);
  }
  const at::Tensor activated_RF = at::empty({rows_RD.size(0), down_EDF.size(2)}, rows_RD.options());
  const at::Tensor d_RP = at::empty(h_RP.sizes(), h_RP.options());
  grouped_matmul(activated_RF, g_RD, down_EDF, counts, /*transpose_w=*/false);
  differentiate_activation(block, h_RP, activated_RF, d_RP);
  grouped_weight_gradient(block.down.gradient(), g_RD, activated_RF, counts);
  grouped_weight_gradient(block.up.gradient(), d_RP, rows_RD, counts);
  if (!want_rows) return {};
  at::Tensor d_RD = at::empty(rows_RD.sizes(), rows_RD.options());
  grouped_matmul(d_RD, d_RP, up_EPD, counts, /*transpose_w=*/false);
  return d_RD;
}

}  // namespace

at::Tensor pre_activations(const at::Tensor& rows_RD, int64_t width, std::span<const int64_t> counts, bool keep) {
  return room(rows_RD, width, counts, keep || rows_RD.is_cuda());
}

at::Tensor compute_block(const ExpertBlock& block, const at::Tensor& rows_RD, std::span<const int64_t> counts,
                         at::Tensor h_RP) {
  if (rows_RD.is_cuda()) return compute_together(block, rows_RD, counts, h_RP);
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const at::Tensor activated = room(rows_RD, down_EDF.size(2), counts, false);
  const bool keep = h_RP.size(0) == rows_RD.size(0);
  at::Tensor y_RD = room_like(block, rows_RD);
  for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
    const at::Tensor h = h_RP.narrow(0, keep ? first : 0, rows), a = activated.narrow(0, 0, rows);
    matmul(h, rows_RD.narrow(0, first, rows), of_expert(up_EPD, e), {.transpose_b = true});
    activate(block, h, a);
    matmul(y_RD.narrow(0, first, rows), a, of_expert(down_EDF, e), {.transpose_b = true, .passing = streamed(y_RD)});
  });
  return y_RD;
}

at::Tensor differentiate_block(const ExpertBlock& block, const at::Tensor& rows_RD, const at::Tensor& h_RP,
                               const at::Tensor& g_RD, std::span<const int64_t> counts, bool want_rows,
                               WeightFactors* later) {
  if (rows_RD.is_cuda()) {
    SY_CHECK(later == nullptr);
    return differentiate_together(block, rows_RD, h_RP, g_RD, counts, want_rows);
  }
  const at::Tensor up_EPD = block.up.value().detach(), down_EDF = block.down.value().detach();
  const bool all = later != nullptr;
  const at::Tensor activated = room(rows_RD, down_EDF.size(2), counts, all);
  const at::Tensor gradient = room(rows_RD, up_EPD.size(1), counts, all);
  const at::Tensor again = h_RP.defined() ? at::Tensor() : room(rows_RD, up_EPD.size(1), counts, false);
  std::optional<WeightSums> sums;
  if (!later) sums.emplace(block);
  at::Tensor d_RD;
  if (want_rows) d_RD = room_like(block, rows_RD);
  for_each_group(counts, [&](int64_t e, int64_t first, int64_t rows) {
    const at::Tensor x = rows_RD.narrow(0, first, rows), g = g_RD.narrow(0, first, rows);
    const at::Tensor a = activated.narrow(0, all ? first : 0, rows), d_h = gradient.narrow(0, all ? first : 0, rows);
    const at::Tensor h = again.defined() ? again.narrow(0, 0, rows) : h_RP.narrow(0, first, rows);
    if (again.defined()) matmul(h, x, of_expert(up_EPD, e), {.transpose_b = true});
    matmul(a, g, of_expert(down_EDF, e));
    differentiate_activation(block, h, a, d_h);
    if (sums) sums->add_products(e, x, g, a, d_h);
    if (want_rows) matmul(d_RD.narrow(0, first, rows), d_h, of_expert(up_EPD, e), {.passing = streamed(d_RD)});
  });
  if (sums) sums->finish();
  if (later) *later = {rows_RD, g_RD, activated, gradient, {counts.begin(), counts.end()}};
  return d_RD;
}

void add_weight_gradients(const ExpertBlock& block, std::span<const WeightFactors> chunks) {
  std::vector<int64_t> first(chunks.size());  // each chunk's row of the expert
  WeightSums sums(block);
  for (size_t e = 0; e < chunks.front().counts.size(); ++e) {
    const auto of_all = [&](at::Tensor WeightFactors::*factor) {
      std::vector<at::Tensor> rows;
      for (size_t i = 0; i < chunks.size(); ++i) {
        rows.push_back((chunks[i].*factor).narrow(0, first[i], chunks[i].counts[e]));
      }
      return at::cat(rows);
    };
    if (const at::Tensor x = of_all(&WeightFactors::x_RD); x.size(0) > 0) {
      sums.add_products(static_cast<int64_t>(e), x, of_all(&WeightFactors::g_RD), of_all(&WeightFactors::activated_RF),
                        of_all(&WeightFactors::d_RP));
    }
    for (size_t i = 0; i < chunks.size(); ++i) first[i] += chunks[i].counts[e];
  }
  sums.finish();
}

}  // namespace switchyard
