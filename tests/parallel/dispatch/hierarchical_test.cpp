// The hierarchical dispatcher over hosts and over ranks: the identity, and the numbers of one rank.
#include "parallel/dispatch/hierarchical.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gtest/gtest.h>

#include "parallel/topology/box.h"
#include "tests/parallel/dispatch/dispatch_block.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

struct Hosts {
  int expert, expert_tensor;
  std::vector<int> nodes;  // empty: every rank is a domain
  std::string name() const { return absl::StrCat(expert, " x ", expert_tensor, " on ", absl::StrJoin(nodes, ",")); }
  MeshShape shape() const { return mesh_shape(expert * expert_tensor, 1, expert, expert_tensor); }
  std::unique_ptr<Dispatcher> make(const Mesh& mesh, const Placement& placement) const {
    Communicator& group = mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
    if (nodes.empty()) return HierarchicalDispatcher::over_ranks(group, placement, expert_tensor);
    return HierarchicalDispatcher::over_nodes(group, mesh.node_group(), placement, expert_tensor, mesh.shared_memory());
  }
};

// One host, equal hosts, ranks dealt in turn, unequal ones, one rank a host, and experts that ranks share.
const std::vector<Hosts>& all_hosts() {
  static const std::vector<Hosts> hosts = {{2, 1, {0, 0}},
                                           {4, 1, {0, 0, 1, 1}},
                                           {4, 1, {0, 1, 0, 1}},
                                           {3, 1, {0, 1, 1}},
                                           {3, 1, {0, 1, 2}},
                                           {2, 2, {0, 0, 1, 1}},
                                           {1, 2, {0, 0}},
                                           {1, 1, {}},
                                           {4, 1, {}},
                                           {3, 1, {}},
                                           {2, 2, {}}};
  return hosts;
}

class Hierarchical : public ::testing::TestWithParam<DispatchCase> {};

TEST_P(Hierarchical, DispatchThenCombineWithEqualWeightsIsTheIdentity) {
  const DispatchCase c = GetParam();
  for (const Hosts& hosts : all_hosts()) {
    SCOPED_TRACE(hosts.name());
    const auto body = [&](const Mesh& mesh) {
      const auto dispatcher = hosts.make(mesh, Placement::contiguous(c.experts, hosts.expert));
      const auto [begin, end] = c.share_of(mesh.world().size(), mesh.world().rank());
      expect_identity(*dispatcher, with_few_bits(c.batch()).share(begin, end), hosts.expert_tensor);
    };
    run_mesh(hosts.shape(), body, hosts.nodes);
  }
}

TEST_P(Hierarchical, GivesTheNumbersOfOneRank) {
  DispatchCase c = GetParam();
  c.dtype = at::kDouble;
  const BlockResult whole = run_whole_block(c);
  for (const Hosts& hosts : all_hosts()) {
    SCOPED_TRACE(hosts.name());
    const auto body = [&](const Mesh& mesh) {
      const Placement placement = Placement::contiguous(c.experts, hosts.expert);
      const auto dispatcher = hosts.make(mesh, placement);
      const auto [begin, end] = c.share_of(mesh.world().size(), mesh.world().rank());
      const int part_index = mesh.index(Axis::kExpertTensor);
      const BlockResult part =
          run_block(*dispatcher, c.batch().share(begin, end), placement.experts_of[mesh.index(Axis::kExpert)],
                    hosts.expert_tensor, part_index);
      expect_close(part.y_TD, whole.y_TD.narrow(0, begin, end - begin), "y");
      expect_close(part.dx_TD, whole.dx_TD.narrow(0, begin, end - begin), "dx");
      expect_close(part.dweights_N, c.slots_of(whole.dweights_N, begin, end), "weights");
      const auto [first, last] = cut(kBlockHidden, hosts.expert_tensor, part_index);
      for (const auto& [e, rows] : part.rows) {
        EXPECT_TRUE(!hosts.nodes.empty() || at::equal(rows, whole.rows.at(e))) << "rows of expert " << e;
        expect_close(part.dup.at(e), whole.dup.at(e).narrow(1, first, last - first), "up");
        expect_close(part.ddown.at(e), whole.ddown.at(e).narrow(0, first, last - first), "down");
      }
    };
    run_mesh(hosts.shape(), body, hosts.nodes);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Hierarchical, ::testing::ValuesIn(dispatch_cases()),
                         [](const ::testing::TestParamInfo<DispatchCase>& tested) { return tested.param.name; });

}  // namespace
}  // namespace switchyard
