// NCCL itself, as far as one device goes: start, groups, what does not leave the rank, and its end.
#include <functional>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/cuda_queue.h"
#include "runtime/comm/loopback.h"
#include "runtime/comm/nccl.h"
#include "runtime/comm/reduce.h"
#include "runtime/device/device.h"
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

// What ranks' pieces add up to, which with one device no communicator asks for: to the bit as on the host.
TEST(NcclOnDevice, ReductionsAreThoseOfTheHost) {
  SY_DEVICE_OR_SKIP();
  constexpr int kRanks = 3;
  constexpr int64_t kCount = 1000;
  const auto queue = make_cuda_queue();
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kInt, at::kLong}) {
    const bool whole = c10::isIntegralType(dtype, false);
    const at::Tensor pieces =
        whole ? at::randint(-1000, 1000, {kRanks, kCount}, dtype) : at::randn({kRanks, kCount}).to(dtype);
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      for (int rank = 0; rank < kRanks; ++rank) {
        const auto reduced_on = [&](c10::Device where, const std::function<void(const Reduction&)>& reduce) {
          std::vector<at::Tensor> others;
          for (int r = 0; r < kRanks; ++r) {
            if (r != rank) others.push_back(pieces[r]);
          }
          const at::Tensor mine = pieces[rank].to(where), theirs = at::cat(others).to(where),
                           out = at::empty_like(mine);
          synchronise(where);
          reduce({.dtype = dtype,
                  .op = op,
                  .rank = rank,
                  .ranks = kRanks,
                  .mine = static_cast<const char*>(mine.const_data_ptr()),
                  .others = static_cast<char*>(theirs.data_ptr()),
                  .piece_bytes = static_cast<int64_t>(mine.nbytes()),
                  .out = static_cast<char*>(out.data_ptr())});
          synchronise(where);
          return out.cpu();
        };
        const at::Tensor expected = reduced_on(c10::kCPU, [](const Reduction& r) { reduce_in_order(r); });
        const at::Tensor actual = reduced_on(device, [&](const Reduction& r) { queue->reduce(r); });
        EXPECT_TRUE(at::equal(actual, expected))
            << dtype << ", operation " << static_cast<int>(op) << ", rank " << rank;
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
