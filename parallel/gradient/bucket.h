// Buckets: slices whose gradients are reduced, and whose updated values are gathered, in one call.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/gradient/ownership.h"
#include "parallel/parameter/parameter.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

struct BucketMember {
  Parameter* parameter;
  const Slice* slice;
  std::vector<Range> owned;  // by index in the replicated group
};

// All members have the same groups and the same value dtype.
struct Bucket {
  AxisSet replicated, partial;
  std::vector<BucketMember> members;
  int64_t elements = 0;

  int64_t owned_elements(int owner) const;
  // Flat views of what `owner` (an index in the replicated group) owns of the members, in their order; empty ones left
  // out.
  std::vector<at::Tensor> gradients_of(int owner) const;
  std::vector<at::Tensor> values_of(int owner) const;
};

// The slices of `parameters` from last to first (backward's order), in buckets that are closed once they hold
// `bucket_bytes` of gradients; larger slices are buckets of their own. Ranks of a group see the same buckets of that
// group in the same order. Local.
std::vector<Bucket> make_buckets(const ParameterList& parameters, const Mesh& mesh, int64_t bucket_bytes);

// For each rank of the group along `partial`, in rank order, its index in the group along `replicated`.
std::vector<int> owners_along(const Mesh& mesh, const AxisSet& replicated, const AxisSet& partial);

// The flat parts one after another: a view where memory has them so already, else a copy. Not for zero parts.
at::Tensor pack(const std::vector<at::Tensor>& parts);

}  // namespace switchyard
