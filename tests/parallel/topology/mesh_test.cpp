// Coordinates and groups of every factorization of a few ranks, against the formula in mesh.h.
#include "parallel/topology/mesh.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

using enum Axis;

std::vector<MeshShape> factorizations(int ranks) {
  std::vector<MeshShape> shapes;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    for (int expert = 1; expert <= ranks; ++expert) {
      for (int expert_tensor = 1; expert * expert_tensor <= ranks; ++expert_tensor) {
        if (ranks % tensor != 0 || ranks % (expert * expert_tensor) != 0) continue;
        MeshShape shape = mesh_shape(ranks, tensor, expert, expert_tensor);
        for (shape.kv_replica = 1; shape.kv_replica <= tensor; ++shape.kv_replica) {
          if (tensor % shape.kv_replica == 0) shapes.push_back(shape);
        }
      }
    }
  }
  return shapes;
}

// A handle that only knows its place; its groups remember how they were split.
class PlacedCommunicator : public Communicator {
 public:
  PlacedCommunicator(int rank, int size, std::string name, int color = 0, int key = 0)
      : color(color), key(key), rank_(rank), size_(size), name_(std::move(name)) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name() const override { return name_; }
  int node_of(int /*rank*/) const override { return 0; }
  Work all_to_all(at::Tensor, std::span<const int64_t>, at::Tensor, std::span<const int64_t>, Call) override {
    return unexpected();
  }
  Work all_reduce(at::Tensor, ReduceOp, Call) override { return unexpected(); }
  Work reduce_scatter(at::Tensor, std::span<const int64_t>, at::Tensor, Call) override { return unexpected(); }
  Work all_gather(at::Tensor, at::Tensor, std::span<const int64_t>, Call) override { return unexpected(); }
  Work broadcast(at::Tensor, int, Call) override { return unexpected(); }
  Work send(at::Tensor, int, Call) override { return unexpected(); }
  Work recv(at::Tensor, int, Call) override { return unexpected(); }
  Work barrier(Call) override { return unexpected(); }
  absl::StatusOr<std::unique_ptr<Communicator>> split(int split_color, int split_key, std::string name, Call) override {
    return std::make_unique<PlacedCommunicator>(0, 0, std::move(name), split_color, split_key);
  }
  const int color;
  const int key;

 private:
  static Work unexpected() { check_failed(__FILE__, __LINE__, "a mesh needs nothing but splits"); }
  int rank_;
  int size_;
  std::string name_;
};

struct Coordinates {
  int d, t, ed, e, et, kv;
};

Coordinates coordinates(const Mesh& mesh) {
  return {mesh.index(kData),   mesh.index(kTensor),       mesh.index(kExpertData),
          mesh.index(kExpert), mesh.index(kExpertTensor), mesh.index(kKvReplica)};
}

TEST(Mesh, CoordinatesFollowTheFormula) {
  for (int ranks = 1; ranks <= 12; ++ranks) {
    for (const MeshShape& shape : factorizations(ranks)) {
      for (int rank = 0; rank < ranks; ++rank) {
        PlacedCommunicator world(rank, ranks, "world");
        const auto mesh = value_or_throw(Mesh::create(world, shape));
        const Coordinates c = coordinates(*mesh);
        SCOPED_TRACE(describe(shape) + " rank " + std::to_string(rank));
        EXPECT_EQ(mesh->index(kPipeline), 0);
        EXPECT_EQ(mesh->index(kContext), 0);
        EXPECT_EQ(rank, c.d * shape.tensor + c.t);
        EXPECT_EQ(rank, (c.ed * shape.expert + c.e) * shape.expert_tensor + c.et);
        EXPECT_LT(c.t, shape.tensor);
        EXPECT_LT(c.e, shape.expert);
        EXPECT_LT(c.et, shape.expert_tensor);
        EXPECT_EQ(c.kv, c.t % shape.kv_replica);
        EXPECT_EQ(mesh->size(kExpertData) * shape.expert * shape.expert_tensor, ranks);
        EXPECT_EQ(mesh->group_size({kData, kTensor}), ranks);
        EXPECT_EQ(mesh->group_index({kData, kTensor}), rank);
        EXPECT_EQ(mesh->group_index({kExpert, kExpertTensor}), c.e * shape.expert_tensor + c.et);
      }
    }
  }
}

// Two ranks are in one group exactly if they differ only along its axes, and they are ordered by rank.
TEST(Mesh, GroupsAreTheRanksThatDifferOnlyAlongTheirAxes) {
  const auto same = [](const AxisSet& axes, const Coordinates& a, const Coordinates& b, const MeshShape& s) {
    const auto has = [&](Axis axis) { return std::count(axes.begin(), axes.end(), axis) > 0; };
    if (has(kExpertData)) return (has(kExpert) || a.e == b.e) && a.et == b.et;
    if (has(kExpert)) return a.ed == b.ed;
    const bool tensor = has(kTensor) || a.t == b.t || (has(kKvReplica) && a.t / s.kv_replica == b.t / s.kv_replica);
    return tensor && (has(kData) || a.d == b.d);
  };
  const std::vector<AxisSet> sets{{kData},
                                  {kTensor},
                                  {kData, kTensor},
                                  {kData, kKvReplica},
                                  {kExpertData},
                                  {kExpertData, kExpert},
                                  {kExpert, kExpertTensor}};
  const int ranks = 12;
  for (const MeshShape& shape : factorizations(ranks)) {
    std::vector<std::unique_ptr<PlacedCommunicator>> worlds;
    std::vector<std::unique_ptr<Mesh>> meshes;
    for (int rank = 0; rank < ranks; ++rank) {
      worlds.push_back(std::make_unique<PlacedCommunicator>(rank, ranks, "world"));
      meshes.push_back(value_or_throw(Mesh::create(*worlds.back(), shape)));
    }
    for (const AxisSet& axes : sets) {
      const auto group_of = [&](int rank) -> const PlacedCommunicator& {
        return static_cast<const PlacedCommunicator&>(meshes[rank]->group(axes, Purpose::kControl));
      };
      for (int a = 0; a < ranks; ++a) {
        int members = 0;
        int before = 0;
        for (int b = 0; b < ranks; ++b) {
          const bool together = same(axes, coordinates(*meshes[a]), coordinates(*meshes[b]), shape);
          EXPECT_EQ(group_of(a).color == group_of(b).color, together) << describe(shape) << " " << a << " " << b;
          members += together;
          before += together && b < a;
          if (together && a < b) {
            EXPECT_LT(group_of(a).key, group_of(b).key);
          }
        }
        EXPECT_EQ(meshes[a]->group_size(axes), members) << describe(shape);
        EXPECT_EQ(meshes[a]->group_index(axes), before) << describe(shape);
      }
    }
  }
}

TEST(Mesh, GroupsOfLiveRanksReachTheirMembers) {
  for (const MeshShape& shape : {mesh_shape(6, 3, 2, 1), mesh_shape(4, 2, 2, 2), mesh_shape(1), mesh_shape(4, 1, 4)}) {
    run_mesh(shape, [](const Mesh& mesh) {
      const std::vector<std::pair<AxisSet, Purpose>> groups{{{kData}, Purpose::kGradient},
                                                            {{kTensor}, Purpose::kLayer},
                                                            {{kData, kTensor}, Purpose::kLayer},
                                                            {{kExpertData}, Purpose::kGradient},
                                                            {{kExpert, kExpertTensor}, Purpose::kDispatch}};
      for (const auto& [axes, purpose] : groups) {
        Communicator& group = mesh.group(axes, purpose);
        ASSERT_EQ(group.size(), mesh.group_size(axes));
        ASSERT_EQ(group.rank(), mesh.group_index(axes));
        const at::Tensor ones = at::ones({1}, at::kLong);
        ASSERT_TRUE(group.all_reduce(ones, ReduceOp::kSum).wait().ok());
        EXPECT_EQ(ones.item<int64_t>(), group.size());
      }
    });
  }
}

TEST(Mesh, AGroupThatNobodyMadeIsABug) {
  PlacedCommunicator world(0, 4, "world");
  const auto mesh = value_or_throw(Mesh::create(world, mesh_shape(4, 2)));
  EXPECT_THROW(mesh->group({kData, kExpert}, Purpose::kControl), CheckError);
  EXPECT_THROW(mesh->group({kTensor}, Purpose::kDispatch), CheckError);
  EXPECT_THROW(mesh->group_index({kTensor, kData}), CheckError);
}

}  // namespace
}  // namespace switchyard
