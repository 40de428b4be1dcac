// A mesh of one rank, for what is computed whole.
#pragma once

#include <memory>

#include "parallel/topology/mesh.h"
#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"

namespace switchyard {

class OneRank {
 public:
  OneRank() : alone_(1), mesh_(value_or_throw(Mesh::create(alone_.rank(0), MeshShape{}))) {}
  const Mesh& mesh() const { return *mesh_; }

 private:
  Loopback alone_;
  const std::unique_ptr<Mesh> mesh_;
};

}  // namespace switchyard
