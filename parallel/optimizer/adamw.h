// AdamW with state sharded over the ranks that hold equal boxes (ZeRO stage 1): each updates what it owns of a tensor,
// in fp32 (fp64 for fp64 values), then all gather the new values.
//
// bf16 values have fp32 masters of their own, initialised and kept unrounded; fp32 and fp64 values are their masters.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>

#include "parallel/checkpoint/tensor_part.h"
#include "parallel/gradient/reducer.h"
#include "parallel/optimizer/adamw_update.h"
#include "parallel/optimizer/config.h"

namespace switchyard {

class ShardedAdamW {
 public:
  // Borrows both. Nothing is initialised, and no memory touched, until initialise_all() or loading. Local.
  ShardedAdamW(const GradientReducer& reducer, const Mesh& mesh, OptimizerConfig config);

  // Values, masters, and moments of 0. Local: every rank initialises its boxes, and equal boxes are equal by
  // construction.
  void initialise_all(uint64_t seed);

  // One update from the reducer's shards, whose gradients are first multiplied by `gradient_scale`; afterwards all
  // ranks hold the new values. Collective over the mesh. Errors: kCommunication.
  absl::Status update(double lr, double gradient_scale);

  // Applied so far (bias correction depends on it); part of the run's state.
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

  // What this rank owns, to be saved, or loaded in place: each parameter's master under its own name, the moments under
  // "optimizer.m." and "optimizer.v." before it. Over all ranks these boxes cover every logical tensor once.
  std::vector<TensorPart> state() const;
  // Makes all values follow the masters, after these have been loaded. Collective over the mesh.
  absl::Status gather_values();

 private:
  struct ShardState {
    const Shard* shard;
    at::Tensor master, m, v;  // flat
    at::Tensor value;         // flat, bf16; undefined where the master is the value
  };

  double decay_of(const ShardState& state, double lr) const;
  void update_shard(const ShardState& state, const AdamWFactors& factors) const;
  void update_on_device(const std::vector<ShardState>& states, const AdamWFactors& factors, double lr) const;

  const GradientReducer& reducer_;
  const Mesh& mesh_;
  const OptimizerConfig config_;
  std::vector<std::vector<ShardState>> states_;  // by bucket
  int64_t updates_ = 0;
};

}  // namespace switchyard
