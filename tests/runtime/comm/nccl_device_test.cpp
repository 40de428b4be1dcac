// NCCL itself, as far as one device goes: start, groups, what does not leave the rank, and its end.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/loopback.h"
#include "runtime/comm/nccl.h"
#include "tests/support/device.h"

namespace switchyard {
namespace {

TEST(NcclOnDevice, OneRankStartsSplitsAndMovesItsOwnRows) {
  SY_DEVICE_OR_SKIP();
  Loopback alone(1);
  const auto world = value_or_throw(make_nccl_world(alone.rank(0), absl::Minutes(1)));
  const auto part = value_or_throw(world->split(0, 0, "part"));
  EXPECT_EQ(part->name(), "part");
  for (Communicator* group : {world.get(), part.get()}) {
    const at::Tensor rows = at::randn({50, 7}, device);
    const at::Tensor moved = at::zeros_like(rows), gathered = at::zeros_like(rows), summed = at::zeros_like(rows);
    throw_if_error(group->all_to_all(rows, std::vector<int64_t>{50}, moved, std::vector<int64_t>{50}).wait());
    throw_if_error(group->all_gather(rows, gathered, std::vector<int64_t>{50}).wait());
    throw_if_error(group->reduce_scatter(rows, std::vector<int64_t>{50}, summed).wait());
    for (const at::Tensor& result : {moved, gathered, summed}) EXPECT_TRUE(at::equal(result, rows));
    // What is queued behind a long computation waits for it.
    at::Tensor slow = at::ones({2000, 2000}, device);
    for (int i = 0; i < 20; ++i) slow = at::mm(slow, slow).mul_(1.0 / 2000);
    const at::Tensor copy = at::zeros_like(slow);
    Work work = group->all_gather(slow, copy, std::vector<int64_t>{2000});
    throw_if_error(work.wait());
    EXPECT_TRUE(at::equal(copy, slow));
    EXPECT_TRUE(work.done());
    const at::Tensor on_host = at::ones({3});
    throw_if_error(group->all_reduce(on_host, ReduceOp::kSum).wait());
    throw_if_error(group->barrier().wait());
  }
}

}  // namespace
}  // namespace switchyard
