// The dispatcher that a layout asks for.
#pragma once

#include <memory>

#include "parallel/dispatch/dispatcher.h"
#include "parallel/topology/mesh.h"
#include "parallel/topology/placement.h"

namespace switchyard {

// `placement`: over the mesh's expert axis. One rank alone always dispatches within itself. Local.
std::unique_ptr<Dispatcher> make_dispatcher(DispatcherKind kind, const Placement& placement, const Mesh& mesh);

// OK where `kind` works on the mesh: hierarchical wants the ranks that share an expert on one host, else kBadConfig.
// The same on all ranks; collective over the mesh's world.
absl::Status check_dispatcher(DispatcherKind kind, const Mesh& mesh);

}  // namespace switchyard
