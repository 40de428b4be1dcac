// Every kind of router in a decoder on a stand-in for a device, ranks over a stand-in for nccl.h: no operation meets
// tensors of the host and of the device, and everything is as on the host.
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "layers/moe/router/router_decorator.h"
#include "runtime/base/status.h"
#include "runtime/comm/nccl_communicator.h"
#include "tests/layers/models/decoder/equal_runs.h"
#include "tests/layers/models/decoder/router_kinds.h"
#include "tests/support/device_stand_in/device_stand_in.h"
#include "tests/support/nccl_stand_in/host_queue.h"

namespace switchyard {
namespace {

std::unique_ptr<Communicator> over_nccl(Communicator& host) {
  const auto make_queue = [] { return std::make_unique<HostQueue>(device_stand_in(0).type()); };
  return value_or_throw(NcclCommunicator::create(host, make_queue, absl::Minutes(1)));
}

// What it routes by stays beside the tokens.
class BesideTokens : public RouterDecorator {
 public:
  using RouterDecorator::RouterDecorator;
  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = RouterDecorator::route(x_tD, context);
    for (const at::Tensor& tensor : {output.routing.offsets, output.routing.experts, output.routing.weights}) {
      EXPECT_EQ(tensor.device(), x_tD.device());
    }
    return output;
  }
};

void expect_on_a_device_as_on_the_host(DecoderCase what, const std::vector<MeshShape>& shapes) {
  const DecoderRun on_host = run_decoder(what, shapes.front());
  what.device = device_stand_in(0);
  what.connect = over_nccl;
  what.decorators.router = [](auto router) { return std::make_unique<BesideTokens>(std::move(router)); };
  for (const MeshShape& shape : shapes) {
    SCOPED_TRACE(describe(shape));
    expect_equal_runs(run_decoder(what, shape), on_host, 1e-9, difference);
  }
}

TEST(StandIn, RefusesTensorsOfBoth) {
  const at::Tensor here = at::ones({2}), there = here.to(device_stand_in(1));
  EXPECT_EQ(there.device(), device_stand_in(1));
  EXPECT_THROW(here + there, c10::Error);
  EXPECT_THROW(at::cat({there, here}), c10::Error);
  EXPECT_TRUE(at::equal((there + there).cpu(), here + here));
}

class Placement : public testing::TestWithParam<RouterKind> {};

TEST_P(Placement, OnADeviceIsAsOnTheHost) {
  DecoderCase what = case_of(GetParam());
  expect_on_a_device_as_on_the_host(what, {mesh_shape(1), mesh_shape(3, 3), mesh_shape(4, 1, 2, 2)});
  if (what.model.moe.share_layers > 1) return;  // recomputed layers share nothing
  what.recompute = Recompute::kLayers;
  expect_on_a_device_as_on_the_host(what, {mesh_shape(2, 1, 2)});
}

INSTANTIATE_TEST_SUITE_P(Kinds, Placement, testing::ValuesIn(router_kinds()), name_of);

TEST(DispatchPlacement, OnADeviceIsAsOnTheHost) {
  DecoderCase what = small_decoder_case();
  what.nodes = {0, 0, 1, 1};
  what.steps.resize(2);
  what.lr.resize(2);
  MeshShape shape = mesh_shape(4, 1, 4);
  for (const DispatcherKind kind :
       {DispatcherKind::kAllToAll, DispatcherKind::kDeduplicated, DispatcherKind::kHierarchical}) {
    for (const Recompute recompute : {Recompute::kNone, Recompute::kActivations, Recompute::kLayers}) {
      SCOPED_TRACE(testing::Message() << dispatcher_name(kind) << ", recompute " << static_cast<int>(recompute));
      shape.dispatcher = kind;
      shape.dispatch_chunks = recompute == Recompute::kNone ? 1 : 3;
      what.recompute = recompute;
      expect_on_a_device_as_on_the_host(what, {shape});
    }
  }
}

}  // namespace
}  // namespace switchyard
