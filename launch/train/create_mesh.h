// The mesh of a run, with dispatcher and chunks settled.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// The layout that the config asks for, of its model; errors as those of parallel/topology/mesh.h.
absl::StatusOr<MeshShape> resolve_mesh(const RunConfig& config, int ranks);

// Lets the ranks of each host share memory, for dispatchers that write there. Empty, or why rows go by messages: the
// system does not allow it. Collective over the mesh's world.
absl::StatusOr<std::string> share_memory(Mesh& mesh);

// `shape`: what resolve_mesh made of config.parallel. On the host, ranks share memory as far as parallel.shared_memory
// and the system allow. Where parallel.dispatcher is auto, each kind is tried with rows of the model's width on
// `device`, and the fastest is taken; where dispatch_chunks is, choose_chunks decides. `tell` gets a line on each. A
// dispatcher that the hosts do not allow is kBadConfig, and so is what `device` does not support (device_support.h).
// Collective over `world`, which the mesh borrows.
absl::StatusOr<std::unique_ptr<Mesh>> create_mesh(const RunConfig& config, const MeshShape& shape, c10::Device device,
                                                  Communicator& world,
                                                  const std::function<void(const std::string&)>& tell = {});

}  // namespace switchyard
