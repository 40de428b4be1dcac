#include "parallel/topology/mesh.h"

#include <algorithm>
#include <functional>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

struct Place {
  int size;
  int stride;  // distance in rank between neighbours along the axis
};

Place place(const MeshShape& s, Axis axis) {
  switch (axis) {
    case Axis::kPipeline:
      return {s.pipeline, s.data * s.context * s.tensor};
    case Axis::kData:
      return {s.data, s.context * s.tensor};
    case Axis::kContext:
      return {s.context, s.tensor};
    case Axis::kTensor:
      return {s.tensor, 1};
    case Axis::kKvReplica:
      return {s.kv_replica, 1};
    case Axis::kExpertData:
      return {s.expert_data, s.expert * s.expert_tensor};
    case Axis::kExpert:
      return {s.expert, s.expert_tensor};
    case Axis::kExpertTensor:
      return {s.expert_tensor, 1};
  }
  check_failed(__FILE__, __LINE__, "unknown axis");
}

std::string describe(const AxisSet& axes) {
  return absl::StrJoin(axes, "+", [](std::string* out, Axis axis) { out->append(axis_name(axis)); });
}

std::string_view purpose_name(Purpose purpose) {
  switch (purpose) {
    case Purpose::kControl:
      return "control";
    case Purpose::kLayer:
      return "layer";
    case Purpose::kDispatch:
      return "dispatch";
    case Purpose::kGradient:
      return "gradient";
  }
  check_failed(__FILE__, __LINE__, "unknown purpose");
}

// Every group that the framework uses, with the purposes that it serves.
const std::vector<std::pair<AxisSet, std::vector<Purpose>>>& group_table() {
  using enum Axis;
  using enum Purpose;
  static const std::vector<std::pair<AxisSet, std::vector<Purpose>>> table = {
      {{kData}, {kControl, kLayer, kGradient}},
      {{kTensor}, {kControl, kLayer, kGradient}},
      {{kData, kTensor}, {kControl, kLayer, kGradient}},
      {{kData, kKvReplica}, {kControl, kGradient}},
      {{kExpertData}, {kControl, kGradient}},
      {{kExpertData, kExpert}, {kControl, kGradient}},
      {{kExpert, kExpertTensor}, {kControl, kDispatch}},
  };
  return table;
}

// The values in 1 … n that `works` accepts, for an error's advice.
std::string working(int n, const std::function<bool(int)>& works) {
  std::vector<int> values;
  for (int v = 1; v <= n; ++v) {
    if (works(v)) values.push_back(v);
  }
  return values.empty() ? "none" : absl::StrJoin(values, ", ");
}

absl::Status bad(const std::string& message) {
  return error(ErrorCategory::kBadConfig, message);
}

absl::Status check_tensor(const ParallelConfig& config, int ranks, int64_t heads, int64_t kv_heads) {
  const auto divides_ranks = [&](int t) { return ranks % t == 0; };
  const auto suits_heads = [&](int t) { return heads % t == 0; };
  const auto suits_kv_heads = [&](int t) { return kv_heads == 0 || kv_heads % t == 0 || t % kv_heads == 0; };
  const std::string advice = absl::StrCat(
      "; with ", ranks, ranks == 1 ? " rank" : " ranks",
      " these work: ", working(ranks, [&](int t) { return divides_ranks(t) && suits_heads(t) && suits_kv_heads(t); }));
  const int t = config.tensor;
  if (!divides_ranks(t)) return bad(absl::StrCat("parallel.tensor=", t, " does not divide ranks=", ranks, advice));
  if (!suits_heads(t)) return bad(absl::StrCat("parallel.tensor=", t, " does not divide heads=", heads, advice));
  if (!suits_kv_heads(t)) {
    return bad(absl::StrCat("parallel.tensor=", t, " neither divides kv_heads=", kv_heads, " nor is a multiple of it",
                            advice));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view axis_name(Axis axis) {
  switch (axis) {
    case Axis::kPipeline:
      return "pipeline";
    case Axis::kData:
      return "data";
    case Axis::kContext:
      return "context";
    case Axis::kTensor:
      return "tensor";
    case Axis::kKvReplica:
      return "kv_replica";
    case Axis::kExpertData:
      return "expert_data";
    case Axis::kExpert:
      return "expert";
    case Axis::kExpertTensor:
      return "expert_tensor";
  }
  check_failed(__FILE__, __LINE__, "unknown axis");
}

const char* dispatcher_name(DispatcherKind kind) {
  switch (kind) {
    case DispatcherKind::kAllToAll:
      return "all_to_all";
    case DispatcherKind::kDeduplicated:
      return "deduplicated";
    case DispatcherKind::kHierarchical:
      return "hierarchical";
  }
  check_failed(__FILE__, __LINE__, "unknown dispatcher");
}

std::string describe_dispatch(DispatcherKind kind, int chunks) {
  return chunks == 1 ? dispatcher_name(kind) : absl::StrCat(dispatcher_name(kind), " in ", chunks, " chunks");
}

absl::StatusOr<MeshShape> resolve_mesh(const ParallelConfig& config, int ranks, int64_t heads, int64_t kv_heads) {
  SY_CHECK_LE(1, ranks);
  const std::pair<const char*, int> sizes[] = {
      {"tensor", config.tensor}, {"expert", config.expert}, {"expert_tensor", config.expert_tensor}};
  for (const auto& [name, size] : sizes) {
    if (size < 1) return bad(absl::StrCat("parallel.", name, "=", size, " must be at least 1"));
  }
  if (config.data < 0) return bad(absl::StrCat("parallel.data=", config.data, " must be at least 1, or auto"));
  SY_RETURN_IF_ERROR(check_tensor(config, ranks, heads, kv_heads));

  MeshShape shape;
  shape.tensor = config.tensor;
  shape.data = ranks / config.tensor;
  if (config.data != 0 && config.data != shape.data) {
    return bad(absl::StrCat("parallel.data=", config.data, " · parallel.tensor=", config.tensor, " do not make ranks=",
                            ranks, "; with tensor=", config.tensor, " this works: data=", shape.data, " (or auto)"));
  }

  shape.expert = config.expert;
  shape.expert_tensor = config.expert_tensor;
  if (ranks % config.expert != 0) {
    return bad(absl::StrCat("parallel.expert=", config.expert, " does not divide data·tensor=", ranks,
                            " ranks; these work: ", working(ranks, [&](int e) { return ranks % e == 0; })));
  }
  const int left = ranks / config.expert;
  if (left % config.expert_tensor != 0) {
    return bad(
        absl::StrCat("parallel.expert=", config.expert, " · parallel.expert_tensor=", config.expert_tensor,
                     " do not divide data·tensor=", ranks, " ranks; with expert=", config.expert,
                     " these values of expert_tensor work: ", working(left, [&](int e) { return left % e == 0; })));
  }
  shape.expert_data = left / config.expert_tensor;
  for (const DispatcherKind kind : {DispatcherKind::kDeduplicated, DispatcherKind::kHierarchical}) {
    if (config.dispatcher == dispatcher_name(kind)) shape.dispatcher = kind;
  }
  shape.dispatch_chunks = std::max(1, config.dispatch_chunks);
  shape.kv_replica = kv_heads > 0 && shape.tensor > kv_heads ? static_cast<int>(shape.tensor / kv_heads) : 1;
  return shape;
}

absl::StatusOr<std::unique_ptr<Mesh>> Mesh::create(Communicator& world, const MeshShape& shape) {
  SY_CHECK_EQ(world.size(), shape.ranks());
  SY_CHECK_EQ(shape.data * shape.context * shape.tensor, shape.expert_data * shape.expert * shape.expert_tensor);
  SY_CHECK_EQ(shape.tensor % shape.kv_replica, 0);
  std::unique_ptr<Mesh> mesh(new Mesh(world, shape));
  for (const auto& [axes, purposes] : group_table()) {
    int first = world.rank();  // of the group: what this rank's coordinates along `axes` add is taken away
    for (Axis axis : axes) first -= mesh->index(axis) * place(shape, axis).stride;
    for (Purpose purpose : purposes) {
      const std::string name = absl::StrCat(describe(axes), "/", std::string(purpose_name(purpose)));
      SY_ASSIGN_OR_RETURN(auto group, world.split(first, mesh->group_index(axes), name));
      mesh->groups_.emplace(std::make_pair(axes, purpose), std::move(group));
    }
  }
  Communicator& dispatch = mesh->group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  SY_ASSIGN_OR_RETURN(mesh->node_group_, dispatch.split(dispatch.node_of(dispatch.rank()), dispatch.rank(),
                                                        absl::StrCat("node of ", dispatch.name())));
  return mesh;
}

absl::Status Mesh::share_memory() {
  absl::StatusOr<std::unique_ptr<SharedMemory>> memory = nullptr;
  if (node_group_->size() > 1) memory = SharedMemory::create(*node_group_);
  SY_RETURN_IF_ERROR(agree(world_, memory.status()));
  shared_memory_ = *std::move(memory);
  return absl::OkStatus();
}

void Mesh::settle_dispatch(DispatcherKind kind, ChunksOf chunks, int64_t part_tokens) {
  chunks_of_ = std::move(chunks);
  shape_.dispatcher = kind;
  shape_.dispatch_chunks = dispatch_chunks(part_tokens);
}

int Mesh::dispatch_chunks(int64_t part_tokens) const {
  const int chunks = chunks_of_ ? chunks_of_(part_tokens) : shape_.dispatch_chunks;
  SY_CHECK_LE(1, chunks);
  return chunks;
}

int Mesh::size(Axis axis) const {
  return place(shape_, axis).size;
}

int Mesh::index(Axis axis) const {
  const Place p = place(shape_, axis);
  return world_.rank() / p.stride % p.size;
}

int Mesh::group_size(const AxisSet& axes) const {
  int product = 1;
  for (Axis axis : axes) product *= size(axis);
  return product;
}

int Mesh::group_index(const AxisSet& axes) const {
  SY_CHECK(std::is_sorted(axes.begin(), axes.end()));
  int result = 0;
  for (Axis axis : axes) result = result * size(axis) + index(axis);
  return result;
}

Communicator& Mesh::group(const AxisSet& axes, Purpose purpose) const {
  const auto found = groups_.find({axes, purpose});
  if (found == groups_.end()) {
    check_failed(
        __FILE__, __LINE__,
        absl::StrCat("no communicator was made for ", describe(axes), "/", std::string(purpose_name(purpose))));
  }
  return *found->second;
}

}  // namespace switchyard
