// How long each dispatcher takes on a mesh, tried out rather than modelled: hosts, links and row sizes all count.
#pragma once

#include <cstdint>
#include <map>

#include <absl/status/statusor.h>
#include <c10/core/TensorOptions.h>

#include "parallel/topology/mesh.h"

namespace switchyard {

struct DispatchTrial {
  int64_t tokens;  // of each rank
  int64_t width;
  int64_t experts;
  int64_t experts_per_token;  // drawn evenly
  at::TensorOptions options;  // of the rows
};

// Milliseconds of a dispatch and a combine, forward and backward, on the slowest rank; the median of three after one
// to warm up. Kinds that the mesh does not allow are left out. The same on all ranks. Collective over the mesh's world.
absl::StatusOr<std::map<DispatcherKind, double>> time_dispatchers(const DispatchTrial& trial, const Mesh& mesh);

// The kind that took least; of equal ones the first.
DispatcherKind fastest_of(const std::map<DispatcherKind, double>& milliseconds);

}  // namespace switchyard
