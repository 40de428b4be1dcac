// What a run's model consists of, on one page.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <c10/core/TensorOptions.h>

#include "layers/models/decoder/config.h"
#include "layers/models/decoder/decoder.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// What is put around a model's parts as they are built; empty in training.
struct Decorators {
  std::function<std::unique_ptr<Router>(std::unique_ptr<Router>)> router;
  std::function<std::unique_ptr<Dispatcher>(std::unique_ptr<Dispatcher>)> dispatcher;
};

// Builds this rank's part of the model for `mesh`, which must outlive it. Parameters are allocated, not initialised.
// `vocabulary`: tokens. `options`: dtype and device of weights and activations; a dtype alone is on the host. `seed`:
// of what routers draw. Local.
std::unique_ptr<Decoder> assemble(const DecoderConfig& config, int64_t vocabulary, const at::TensorOptions& options,
                                  bool recompute_blocks, uint64_t seed, const Mesh& mesh,
                                  const Decorators& decorators = {});

}  // namespace switchyard
