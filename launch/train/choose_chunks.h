// How many chunks hide the wire best, by a model of this run's wire and experts that is fitted where the run runs.
#pragma once

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// One where `kind` writes into the memory of all ranks that have experts. Else times all-to-alls of a mixture layer's
// rows, evenly spread, and the products of this rank's experts, each for three sizes; fits α + β·v to both, the slowest
// rank's; and takes best_chunks. The rows are all_to_all's, and the schedule the forward's: the backward has the same
// over the same wire, and then the weights' gradients. Once, at the start: training's parts all have as many
// tokens. The same on all ranks. Collective over the mesh's world.
absl::StatusOr<int> choose_chunks(const RunConfig& config, const Mesh& mesh, DispatcherKind kind, c10::Device device);

}  // namespace switchyard
