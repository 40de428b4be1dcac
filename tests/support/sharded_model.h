// Parameters of every kind that a model shards, on any layout, without a model: for tests of what is derived from
// their specs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/parameter/parameter.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

struct Layout {
  int ranks;
  int64_t kv_heads;
  ParallelConfig parallel;
};

std::string to_string(const Layout& layout);
// From 1 to 6 ranks: data, tensor, expert and expert tensor ranks and their products, key and value heads shared by
// tensor ranks, experts that do not divide.
std::vector<Layout> test_layouts();

struct ShardedModel {
  std::vector<std::unique_ptr<Parameter>> parameters;

  ParameterList list() const;
  int64_t logical_elements = 0;  // of the whole model
};

std::unique_ptr<Mesh> make_mesh(Communicator& world, const Layout& layout);
ShardedModel make_sharded_model(const Mesh& mesh, int64_t kv_heads, at::ScalarType dtype);

}  // namespace switchyard
