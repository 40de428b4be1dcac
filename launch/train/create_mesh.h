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

// `shape`: what resolve_mesh made of config.parallel. On the host, ranks share memory as far as parallel.shared_memory
// and the system allow. Where parallel.dispatcher is auto, each kind is tried with rows of the model's width on
// `device`, and the fastest is taken; where dispatch_chunks is, the model of fit_chunks decides. `tell` gets a line on
// each, and one where rows go by messages although memory is to be shared; `by_messages`, where it is not null, gets
// why, else nothing. kBadConfig: a dispatcher that the hosts do not allow, more experts than a device counts.
// Collective over `world`, which the mesh borrows.
absl::StatusOr<std::unique_ptr<Mesh>> create_mesh(const RunConfig& config, const MeshShape& shape, c10::Device device,
                                                  Communicator& world,
                                                  const std::function<void(const std::string&)>& tell = {},
                                                  std::string* by_messages = nullptr);

}  // namespace switchyard
