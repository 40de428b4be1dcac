#include "launch/verify/flips.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

// A flip whose margin is a tenth of the perturbations' size is missed by one in 2¹⁰⁰.
constexpr int kPerturbations = 100;
// So many, in pairs of opposite sign, to learn how many flips are to be expected.
constexpr int kCounted = 16;
constexpr double kRare = 1e-6;

}  // namespace

void Flips::add(const Flips& more) {
  if (unexplained == 0) first = more.first;
  tokens += more.tokens;
  flipped += more.flipped;
  unexplained += more.unexplained;
}

double chance_of(int64_t count, double mean) {
  double term = std::exp(-mean), fewer = 0;
  for (int64_t i = 0; i < count; ++i) {
    fewer += term;
    term *= mean / static_cast<double>(i + 1);
  }
  return 1 - fewer;
}

Flips count_flips(PlainRouter& router, const at::Tensor& x_TD, const TokenContext& context, const Choice& choice,
                  int64_t experts, double margin, const std::string& where) {
  const at::Tensor x = x_TD.detach();
  const Choice own = router.choose(x, context);
  at::Tensor left = differing_tokens(own, choice, experts);
  Flips flips{.tokens = x.size(0), .flipped = left.sum().item<int64_t>()};
  if (flips.flipped == 0) return flips;

  at::Generator random = at::detail::createCPUGenerator(1);
  const at::Tensor size_T1 = margin * x.square().mean(1, true).sqrt();
  int64_t made = 0, perturbations = 0;
  for (int i = 0; i < kPerturbations && (i < kCounted || left.any().item<bool>()); ++i) {
    const at::Tensor noise = size_T1 * at::randn(x.sizes(), random, x.options());
    for (const double sign : {1.0, -1.0}) {
      const Choice perturbed = router.choose(x + sign * noise, context);
      left = left.logical_and(differing_tokens(perturbed, choice, experts));
      made += differing_tokens(perturbed, own, experts).sum().item<int64_t>();
      ++perturbations;
    }
  }
  flips.unexplained = left.sum().item<int64_t>();
  const double expected = static_cast<double>(made) / static_cast<double>(perturbations);
  if (flips.unexplained > 0) {
    flips.first = absl::StrCat(where, ", token ", left.nonzero()[0][0].item<int64_t>());
  } else if (chance_of(flips.flipped, expected) < kRare) {
    flips.unexplained = flips.flipped;
    flips.first = absl::StrFormat("%s: %d flips where rounding makes %.1f", where, flips.flipped, expected);
  }
  return flips;
}

absl::StatusOr<Flips> broadcast_flips(Communicator& world, const Flips& flips) {
  const at::Tensor counts = at::tensor({flips.tokens, flips.flipped, flips.unexplained});
  SY_RETURN_IF_ERROR(world.broadcast(counts, 0).wait());
  SY_ASSIGN_OR_RETURN(std::string first, broadcast_text(world, flips.first));
  const int64_t* count = counts.const_data_ptr<int64_t>();
  return Flips{.tokens = count[0], .flipped = count[1], .unexplained = count[2], .first = std::move(first)};
}

}  // namespace switchyard
