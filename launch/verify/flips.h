// Choices of experts that rounding has flipped, told from those that a bug has.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "launch/verify/plain_router.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct Flips {
  int64_t tokens = 0;       // of how many, in all MoE layers
  int64_t flipped = 0;      // that go to other experts
  int64_t unexplained = 0;  // of which no perturbation within the bound makes the reference agree, or more than such
                            // perturbations flip
  std::string first = {};   // where the first unexplained one is

  void add(const Flips& more);
};

// How `choice` differs from what `router` chooses for x_TD. A flip that rounding has made is one that some perturbation
// of relative size `margin` makes, too; and as many flips are too many if perturbations would make them once in a
// million times. `where`: of the tokens, for people.
Flips count_flips(PlainRouter& router, const at::Tensor& x_TD, const TokenContext& context, const Choice& choice,
                  int64_t experts, double margin, const std::string& where);

// Rank 0's, on all ranks. Collective over `world`. Errors: kCommunication.
absl::StatusOr<Flips> broadcast_flips(Communicator& world, const Flips& flips);

// The chance of `count` events or more where `mean` are expected (Poisson).
double chance_of(int64_t count, double mean);

}  // namespace switchyard
