#include <ATen/ATen.h>

#include "layers/moe/router/rules/rules.h"
#include "layers/moe/router/selection.h"
#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"
#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

class HashRule : public RoutingRule {
 public:
  explicit HashRule(const RuleContext& context)
      : experts_(context.config.experts),
        experts_per_token_(context.config.experts_per_token),
        scale_(context.config.router.scale),
        drawn_(context.config.router.table == "random"),
        random_(context.build.seed, hash_name(context.name + ".table")) {}

  void score(Scored&) override {}
  Choice choose(Scored& scored) override {
    const at::Tensor ids_T = scored.context.tokens.contiguous();
    SY_CHECK(ids_T.is_cpu());
    const int64_t* ids = ids_T.const_data_ptr<int64_t>();
    const int64_t tokens = ids_T.numel(), k = experts_per_token_;
    at::Tensor experts_N = at::empty({tokens * k}, at::kLong);
    int64_t* experts = experts_N.mutable_data_ptr<int64_t>();
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t first = drawn_ ? static_cast<int64_t>(random_.below(experts_, ids[t])) : ids[t] % experts_ * k;
      for (int64_t j = 0; j < k; ++j) experts[t * k + j] = (first + j) % experts_;
    }
    return {.offsets = at::arange(0, (tokens + 1) * k, k, at::kLong), .experts = experts_N, .kept = {}};
  }
  at::Tensor weigh(const Scored& scored, const Choice& choice) override {
    const at::ScalarType dtype = accumulate_dtype(scored.x_TD.scalar_type());
    return at::full(choice.experts.sizes(), scale_ / static_cast<double>(experts_per_token_), dtype);
  }

 private:
  const int64_t experts_;
  const int64_t experts_per_token_;
  const double scale_;
  const bool drawn_;
  const CounterRandom random_;
};

}  // namespace

std::unique_ptr<RoutingRule> make_hash_rule(const RuleContext& context) {
  return std::make_unique<HashRule>(context);
}

}  // namespace switchyard
