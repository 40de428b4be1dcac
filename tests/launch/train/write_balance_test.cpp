// How much of a checkpoint each rank writes, on the 63 M shape of configs/bench_63m.yaml.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "launch/train/job.h"
#include "parallel/checkpoint/write_boxes.h"
#include "runtime/base/status.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

struct BalanceCase {
  int ranks, tensor, expert, expert_tensor;
};

// Bytes that each rank would write. Nothing is initialised, so no memory is touched.
std::vector<int64_t> bytes_of_ranks(const BalanceCase& layout) {
  std::vector<int64_t> bytes(layout.ranks);
  const auto config = read_config<RunConfig>(
      SWITCHYARD_SOURCE "/configs/bench_63m.yaml",
      std::vector<std::string>{absl::StrCat("parallel.tensor=", layout.tensor),
                               absl::StrCat("parallel.expert=", layout.expert),
                               absl::StrCat("parallel.expert_tensor=", layout.expert_tensor), "model.moe.experts=24"});
  EXPECT_TRUE(config.ok()) << config.status();
  run_ranks(layout.ranks, [&](Communicator& world) {
    const MeshShape shape = value_or_throw(
        resolve_mesh(config->parallel, world.size(), config->model.attention.heads, config->model.attention.kv_heads));
    const std::unique_ptr<Mesh> mesh = value_or_throw(Mesh::create(world, shape));
    Recorder recorder;
    const std::unique_ptr<Job> job = build_job(*config, config->model.vocabulary, *mesh, c10::kCPU, recorder);
    bytes[world.rank()] = bytes_to_write(job->optimizer->state());
  });
  return bytes;
}

// 24 experts are shared evenly by all these numbers of ranks.
TEST(WriteBalance, WithinTenPercent) {
  const BalanceCase layouts[] = {{2, 1, 1, 1}, {2, 1, 2, 1}, {2, 2, 1, 2}, {2, 2, 2, 1}, {3, 1, 1, 1}, {3, 1, 3, 1},
                                 {4, 1, 2, 1}, {4, 2, 2, 2}, {4, 4, 4, 1}, {4, 2, 1, 1}, {6, 1, 6, 1}, {6, 2, 3, 1},
                                 {6, 1, 2, 3}, {8, 1, 8, 1}, {8, 2, 4, 2}, {8, 8, 8, 1}, {8, 4, 2, 1}, {8, 1, 1, 1}};
  for (const BalanceCase& layout : layouts) {
    const std::vector<int64_t> bytes = bytes_of_ranks(layout);
    const double mean = static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), int64_t{0})) /
                        static_cast<double>(bytes.size());
    const auto [least, most] = std::minmax_element(bytes.begin(), bytes.end());
    const std::string what = absl::StrCat("ranks ", layout.ranks, " tensor ", layout.tensor, " expert ", layout.expert,
                                          " expert_tensor ", layout.expert_tensor);
    RecordProperty(absl::StrCat(what, ": least and most, of the mean"),
                   absl::StrCat(static_cast<double>(*least) / mean, " ", static_cast<double>(*most) / mean));
    EXPECT_LE(static_cast<double>(*most), 1.05 * mean) << what;
    EXPECT_GE(static_cast<double>(*least), 0.95 * mean) << what;
  }
}

}  // namespace
}  // namespace switchyard
