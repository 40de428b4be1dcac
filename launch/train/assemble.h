// What a run's model consists of, on one page.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include <c10/core/TensorOptions.h>

#include "layers/models/decoder/config.h"
#include "layers/models/decoder/decoder.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// What backward computes again instead of keeping it: nothing; logits and what lies between the products of
// feed-forward layers and experts; or logits and everything in a block.
enum class Recompute { kNone, kActivations, kLayers };
// "none", "activation" or "layer"; anything else is a bug (configs check with one_of).
Recompute recompute_from_name(std::string_view name);

// What is put around a model's parts as they are built; empty in training.
struct Decorators {
  std::function<std::unique_ptr<Router>(std::unique_ptr<Router>)> router;
  std::function<std::unique_ptr<Dispatcher>(std::unique_ptr<Dispatcher>)> dispatcher;
};

// Builds this rank's part of the model for `mesh`, which must outlive it. Parameters are allocated, not initialised.
// `vocabulary`: tokens. `options`: dtype and device of weights and activations; a dtype alone is on the host. `seed`:
// of what routers draw. Local.
std::unique_ptr<Decoder> assemble(const DecoderConfig& config, int64_t vocabulary, const at::TensorOptions& options,
                                  Recompute recompute, uint64_t seed, const Mesh& mesh,
                                  const Decorators& decorators = {});

}  // namespace switchyard
