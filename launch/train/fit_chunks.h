// What a run's wire and experts take, by which tokens are cut into as many chunks as hide the wire best.
#pragma once

#include <optional>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

#include "launch/config/run_config.h"
#include "parallel/dispatch/chunk_pipeline.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// None where `kind` writes into the memory of all ranks that have experts: chunks hide nothing there. Else does what a
// mixture layer's forward does, by that dispatcher, with tokens that are spread evenly, for three sizes up to a
// training part's, and fits α + β·v to what a rank waits for the wire, one way, and to all else that it does: the
// products of its experts and putting rows in place; both the slowest rank's. The backward has the same over the same
// wire, and then the weights' gradients. The same on all ranks. Collective over the mesh's world.
absl::StatusOr<std::optional<ChunkModel>> fit_chunks(const RunConfig& config, const Mesh& mesh, DispatcherKind kind,
                                                     c10::Device device);

}  // namespace switchyard
