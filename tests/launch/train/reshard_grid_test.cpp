// From any layout to any other: what is saved on one is, bit for bit, what the other restores, and training goes on
// with the same data and the same loss.
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/Functions.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "launch/config/binder.h"
#include "launch/config/document.h"
#include "launch/train/job.h"
#include "launch/train/saving.h"
#include "launch/train/train_step.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "tests/support/gatherer.h"
#include "tests/support/mesh.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

// Heads that 1, 2, 4, 6 and 8 tensor ranks divide, two key and value heads, five experts, an odd vocabulary.
constexpr char kConfig[] = R"(
run: {dir: unset, threads: 1, peak_gflops: 1}
model:
  width: 24
  layers: 2
  vocabulary: 61
  attention: {heads: 24, kv_heads: 2, head_width: 2}
  feed_forward: {width: 26}
  moe: {first_dense: 1, experts: 5, experts_per_token: 2, expert_width: 10, shared_experts: 1}
data: {train: random, sequence: 6}
train: {steps: 6, global_batch: 4, accumulation: 2, precision: fp64, validate_every: 0}
optimizer: {lr: 0.01, schedule: {kind: cosine, warmup: 2, min_lr: 0.001}}
)";
constexpr int64_t kStep = 3;

struct GridLayout {
  int ranks, tensor, expert, expert_tensor;
};
constexpr GridLayout kLayouts[] = {{1, 1, 1, 1}, {2, 1, 1, 1}, {2, 2, 2, 1}, {2, 1, 1, 2}, {3, 1, 3, 1}, {4, 2, 2, 2},
                                   {4, 4, 1, 4}, {4, 1, 4, 1}, {6, 6, 3, 2}, {6, 2, 3, 1}, {8, 2, 4, 2}, {8, 8, 2, 1}};

std::string name_of(const GridLayout& layout) {
  return absl::StrCat("ranks ", layout.ranks, ", tensor ", layout.tensor, ", expert ", layout.expert,
                      ", expert_tensor ", layout.expert_tensor);
}

// What a layout saved at kStep, and how it went on.
struct Saved {
  std::filesystem::path checkpoint;
  std::map<std::string, at::Tensor> state;
  RunState run;
  double next_loss = 0, next_norm = 0;
};

class ReshardGrid : public testing::Test {
 protected:
  void run(const GridLayout& layout, const std::function<void(Job&)>& body) const {
    run_ranks(layout.ranks, [&](Communicator& world) {
      RunConfig config;
      throw_if_error(
          bind_text(schema_of(config), kConfig, "the test",
                    std::vector<std::string>{absl::StrCat("run.dir=", (folder_ / name_of(layout)).string()),
                                             absl::StrCat("parallel.tensor=", layout.tensor),
                                             absl::StrCat("parallel.expert=", layout.expert),
                                             absl::StrCat("parallel.expert_tensor=", layout.expert_tensor)}));
      const MeshShape shape = value_or_throw(resolve_mesh(config.parallel, world.size(), 24, 2));
      const std::unique_ptr<Mesh> mesh = value_or_throw(Mesh::create(world, shape));
      Recorder recorder;
      const std::unique_ptr<Job> job = build_job(config, config.model.vocabulary, *mesh, c10::kCPU, recorder);
      throw_if_error(open_data(*job));
      job->state.config = dump_yaml(config);
      job->state.vocabulary = config.model.vocabulary;
      body(*job);
    });
  }

  static void gather(const Job& job, Gatherer& gatherer) {
    for (const TensorPart& part : job.optimizer->state()) gatherer.add(part.name, part.shape, part.box, part.data);
  }

  Saved save_on(const GridLayout& layout) const {
    Saved saved;
    Gatherer gatherer;
    run(layout, [&](Job& job) {
      job.optimizer->initialise_all(job.config.run.seed);
      throw_if_error(open_writer(job));
      while (job.state.step < kStep) throw_if_error(train_step(job).status());
      save(job);
      gather(job, gatherer);
      const RunState at_save = job.state;
      const StepOutcome next = value_or_throw(train_step(job));
      throw_if_error(job.writer->take_ended(1)[0].status);
      if (job.mesh.world().rank() != 0) return;
      saved.checkpoint = checkpoint_path(checkpoints_folder(job.config), kStep);
      saved.run = at_save;
      saved.next_loss = next.loss;
      saved.next_norm = next.grad_norm;
    });
    saved.state = gatherer.take();
    return saved;
  }

  // The boxes of the tensors are smaller than a chunk here: each one that is needed is read, whole, and no other.
  static int64_t bytes_needed(const Checkpoint& checkpoint, const std::vector<TensorPart>& parts) {
    int64_t bytes = 0;
    for (const TensorPart& part : parts) {
      for (const StoredBox& stored : checkpoint.find(part.name)->boxes) {
        if (!intersect(stored.box, part.box).empty()) bytes += stored.box.numel() * 8;
      }
    }
    return bytes;
  }

  static void expect_restored(Job& job, const Saved& saved, Gatherer& gatherer) {
    for (const TensorPart& part : job.optimizer->state()) part.data.fill_(7);
    const auto checkpoint = value_or_throw(Checkpoint::open_manifest(saved.checkpoint));
    throw_if_error(checkpoint->read(job.optimizer->state()));
    EXPECT_EQ(checkpoint->bytes_read(), bytes_needed(*checkpoint, job.optimizer->state()));

    for (const TensorPart& part : job.optimizer->state()) part.data.fill_(7);
    EXPECT_EQ(value_or_throw(restore_latest(job, saved.checkpoint.string(), nullptr)), saved.checkpoint.string());
    EXPECT_EQ(job.state.step, kStep);
    EXPECT_EQ(job.state.updates, saved.run.updates);
    EXPECT_EQ(job.state.tokens, saved.run.tokens);
    EXPECT_EQ(job.state.data, saved.run.data);
    gather(job, gatherer);
    const StepOutcome next = value_or_throw(train_step(job));
    EXPECT_NEAR(next.loss, saved.next_loss, 1e-9);
    EXPECT_NEAR(next.grad_norm, saved.next_norm, 1e-9);
  }

  TemporaryFolder folder_;
};

TEST_F(ReshardGrid, AnyToAny) {
  std::vector<Saved> all;
  for (const GridLayout& layout : kLayouts) {
    all.push_back(save_on(layout));
    EXPECT_NEAR(all.back().next_loss, all.front().next_loss, 1e-9) << name_of(layout);
  }
  int pairs = 0;
  for (const GridLayout& to : kLayouts) {
    std::vector<Gatherer> gatherers(all.size());
    run(to, [&](Job& job) {
      for (size_t from = 0; from < all.size(); ++from) {
        SCOPED_TRACE(absl::StrCat("from ", name_of(kLayouts[from]), " to ", name_of(to)));
        expect_restored(job, all[from], gatherers[from]);
      }
    });
    for (size_t from = 0; from < all.size(); ++from) {
      const auto state = gatherers[from].take();
      ASSERT_EQ(state.size(), all[from].state.size());
      for (const auto& [name, whole] : all[from].state) {
        ASSERT_TRUE(at::equal(state.at(name), whole))
            << name << " from " << name_of(kLayouts[from]) << " to " << name_of(to);
      }
      ++pairs;
    }
  }
  EXPECT_GE(pairs, 60);
}

}  // namespace
}  // namespace switchyard
