// That updated values travel while later buckets are still updated, by what is done when a transfer begins and when it
// is waited for.
#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "launch/verify/faulty_wire.h"
#include "parallel/optimizer/adamw.h"
#include "tests/support/ranks.h"
#include "tests/support/sharded_model.h"

namespace switchyard {
namespace {

class WatchedWork : public WorkState {
 public:
  WatchedWork(Work work, std::function<void()> on_wait) : work_(std::move(work)), on_wait_(std::move(on_wait)) {}
  absl::Status wait() override {
    on_wait_();
    return work_.wait();
  }
  bool done() override { return work_.done(); }

 private:
  Work work_;
  const std::function<void()> on_wait_;
};

// Buckets that were updated when a gathering began, and when it was waited for.
struct Gathering {
  int begun, waited;
};

// A wire without faults that notes what was gathered over it.
class GatherLog : public WireFault {
 public:
  Work all_gather(Communicator& wire, at::Tensor send, at::Tensor recv, std::span<const int64_t> rows,
                  Call call) override {
    const size_t index = gatherings.size();
    gatherings.push_back({.begun = updated(), .waited = 0});
    return Work(std::make_shared<WatchedWork>(wire.all_gather(std::move(send), std::move(recv), rows, call),
                                              [this, index] { gatherings[index].waited = updated(); }));
  }
  std::function<int()> updated;
  std::vector<Gathering> gatherings;
};

constexpr int kBuckets = 5;

// Of a bucket each, and large enough that both ranks own a part.
std::vector<std::unique_ptr<Parameter>> parameters() {
  const std::vector<int64_t> shape{512, 64};
  std::vector<std::unique_ptr<Parameter>> list;
  for (int i = 0; i < kBuckets; ++i) {
    Slice slice;
    slice.spec = {absl::StrCat("w", i), shape, Box::whole(shape), {Axis::kData}, {Axis::kData}};
    list.push_back(std::make_unique<Parameter>(shape, at::kFloat, std::vector{slice}));
  }
  return list;
}

// Of each bucket the values that this rank updates, as views.
std::vector<at::Tensor> own_values(const GradientReducer& reducer, const Mesh& mesh) {
  std::vector<at::Tensor> values;
  for (const Bucket& bucket : reducer.buckets()) {
    values.push_back(bucket.values_of(mesh.group_index(bucket.replicated)).front());
  }
  return values;
}

TEST(ValueGather, BucketsTravelWhileTheNextAreUpdated) {
  run_ranks(2, [](Communicator& world) {
    const auto log = std::make_shared<GatherLog>();
    const std::unique_ptr<Communicator> wire = faulty_wire(world, log);
    const std::unique_ptr<Mesh> mesh = make_mesh(*wire, test_layouts()[1]);
    const auto owned = parameters();
    ParameterList list;
    for (const auto& parameter : owned) list.push_back(parameter.get());
    GradientReducer reducer(list, *mesh, {.bucket_bytes = 1, .check_replicas = false, .observer = {}});
    ShardedAdamW optimizer(reducer, *mesh, {});
    optimizer.initialise_all(1);
    for (const Shard& shard : reducer.shards()) shard.gradient.fill_(1);

    const std::vector<at::Tensor> values = own_values(reducer, *mesh);
    ASSERT_EQ(values.size(), size_t{kBuckets});
    std::vector<at::Tensor> before;
    for (const at::Tensor& value : values) before.push_back(value.clone());
    log->updated = [&] {
      int changed = 0;
      for (int b = 0; b < kBuckets; ++b) changed += !at::equal(values[b], before[b]);
      return changed;
    };
    ASSERT_TRUE(optimizer.update(1e-2, 1).ok());
    ASSERT_EQ(log->gatherings.size(), size_t{kBuckets});
    for (int b = 0; b < kBuckets; ++b) {
      EXPECT_EQ(log->gatherings[b].begun, b + 1) << "it goes out once it is updated";
      EXPECT_GE(log->gatherings[b].waited, std::min(b + 2, kBuckets)) << "the next is updated before it is waited for";
    }
  });
}

}  // namespace
}  // namespace switchyard
