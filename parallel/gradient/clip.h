// The global gradient norm and the factor that clips it (Pascanu et al., "On the difficulty of training recurrent
// neural networks", 2013).
#pragma once

#include <span>

#include <absl/status/statusor.h>

#include "parallel/gradient/reducer.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// √ of the sum of squares over all logical elements, each counted once, summed in fp64 in a fixed order. Collective
// over `world`, all ranks of the mesh, after finish(). All ranks get the same bits; not finite where any gradient is
// not, so that all ranks skip such a step alike.
absl::StatusOr<double> gradient_norm(std::span<const Shard> shards, Communicator& world);

// What gradients are multiplied by so that their norm is at most `limit`; 1 where limit is 0 (off).
double clip_factor(double norm, double limit);

}  // namespace switchyard
