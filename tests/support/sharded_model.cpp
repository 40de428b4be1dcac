#include "tests/support/sharded_model.h"

#include <absl/strings/str_cat.h>

#include "parallel/topology/placement.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr int64_t kHeads = 12, kHeadWidth = 8, kWidth = 48, kExperts = 5, kExpertWidth = 20, kVocabulary = 101;
const AxisSet kDense = {Axis::kData, Axis::kTensor};

class Builder {
 public:
  Builder(at::ScalarType dtype, ShardedModel& model) : dtype_(dtype), model_(model) {}

  // Part `index` of `parts` along `dimension` (parts 1: all of it), as the next slice of the storage.
  void slice(const std::string& name, std::vector<int64_t> shape, int dimension, int parts, int index,
             AxisSet replicated, AxisSet partial) {
    Slice slice;
    slice.spec = {name, shape, Box::whole(shape), std::move(replicated), std::move(partial)};
    const auto [begin, end] = cut(shape[dimension], parts, index);
    slice.spec.box.offset[dimension] = begin;
    slice.spec.box.extent[dimension] = end - begin;
    slice.offset = elements_;
    elements_ += slice.spec.box.numel();
    slices_.push_back(std::move(slice));
  }
  void parameter() {
    model_.parameters.push_back(std::make_unique<Parameter>(std::vector{elements_}, dtype_, std::move(slices_)));
    slices_.clear();
    elements_ = 0;
  }
  void whole(const std::string& name, std::vector<int64_t> shape, AxisSet partial) {
    slice(name, std::move(shape), 0, 1, 0, kDense, std::move(partial));
    parameter();
  }

 private:
  at::ScalarType dtype_;
  ShardedModel& model_;
  std::vector<Slice> slices_;
  int64_t elements_ = 0;
};

void add_experts(Builder& builder, const Mesh& mesh) {
  const Placement placement = Placement::contiguous(kExperts, mesh.size(Axis::kExpert));
  const auto& experts = placement.experts_of[mesh.index(Axis::kExpert)];
  if (experts.empty()) return;
  const int parts = mesh.size(Axis::kExpertTensor), index = mesh.index(Axis::kExpertTensor);
  const AxisSet group = {Axis::kExpertData};
  for (const char* which : {"up", "down"}) {
    const bool up = std::string_view(which) == "up";
    const std::vector<int64_t> shape = up ? std::vector{kExpertWidth, kWidth} : std::vector{kWidth, kExpertWidth};
    for (int64_t e : experts) {
      builder.slice(absl::StrCat("experts.", e, ".", which), shape, up ? 0 : 1, parts, index, group, group);
    }
    builder.parameter();
  }
}

}  // namespace

std::string to_string(const Layout& layout) {
  const ParallelConfig& p = layout.parallel;
  return absl::StrCat("ranks ", layout.ranks, " tensor ", p.tensor, " kv_heads ", layout.kv_heads, " expert ", p.expert,
                      " expert_tensor ", p.expert_tensor);
}

std::vector<Layout> test_layouts() {
  const auto layout = [](int ranks, int tensor, int64_t kv_heads, int expert, int expert_tensor) {
    return Layout{ranks, kv_heads, {.data = 0, .tensor = tensor, .expert = expert, .expert_tensor = expert_tensor}};
  };
  return {layout(1, 1, 2, 1, 1), layout(2, 1, 2, 1, 1), layout(2, 1, 2, 2, 1), layout(2, 2, 2, 1, 2),
          layout(2, 2, 1, 1, 1), layout(3, 1, 2, 3, 1), layout(3, 3, 1, 1, 1), layout(3, 1, 2, 1, 3),
          layout(4, 2, 2, 2, 1), layout(4, 4, 2, 2, 2), layout(4, 2, 1, 1, 2), layout(4, 1, 2, 4, 1),
          layout(6, 2, 1, 3, 1), layout(6, 6, 2, 1, 2), layout(6, 3, 3, 6, 1)};
}

ParameterList ShardedModel::list() const {
  ParameterList list;
  for (const auto& parameter : parameters) list.push_back(parameter.get());
  return list;
}

std::unique_ptr<Mesh> make_mesh(Communicator& world, const Layout& layout) {
  const MeshShape shape = value_or_throw(resolve_mesh(layout.parallel, layout.ranks, kHeads, layout.kv_heads));
  return value_or_throw(Mesh::create(world, shape));
}

ShardedModel make_sharded_model(const Mesh& mesh, int64_t kv_heads, at::ScalarType dtype) {
  ShardedModel model;
  Builder builder(dtype, model);
  const int tensor = mesh.size(Axis::kTensor), t = mesh.index(Axis::kTensor);
  const int replicas = mesh.size(Axis::kKvReplica);
  const AxisSet data = {Axis::kData}, kv = {Axis::kData, Axis::kKvReplica};

  builder.slice("embedding", {kVocabulary, kWidth}, 0, tensor, t, data, data);
  builder.parameter();
  builder.whole("norm", {kWidth}, kDense);
  builder.slice("q", {kHeads * kHeadWidth, kWidth}, 0, tensor, t, data, data);
  builder.slice("k", {kv_heads * kHeadWidth, kWidth}, 0, tensor / replicas, t / replicas, kv, kv);
  builder.slice("v", {kv_heads * kHeadWidth, kWidth}, 0, tensor / replicas, t / replicas, kv, kv);
  builder.parameter();
  builder.slice("o", {kWidth, kHeads * kHeadWidth}, 1, tensor, t, data, data);
  builder.parameter();
  builder.whole("router", {kExperts, kWidth}, kDense);
  add_experts(builder, mesh);
  builder.whole("cut", {401, kWidth}, kDense);                      // above the size below which tensors stay whole
  builder.whole("same_over_tensor", {403, kWidth}, {Axis::kData});  // gradients partial over data alone
  builder.whole("same_everywhere", {7, kWidth}, {});
  model.logical_elements = kWidth * (kVocabulary + 1 + 2 * kHeads * kHeadWidth + 2 * kv_heads * kHeadWidth + kExperts +
                                     2 * kExperts * kExpertWidth + 401 + 403 + 7);
  return model;
}

}  // namespace switchyard
