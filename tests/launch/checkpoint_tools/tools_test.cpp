#include "launch/checkpoint_tools/tools.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "launch/checkpoint_tools/source.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/verify.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/base/status.h"
#include "runtime/storage/safetensors.h"
#include "tests/parallel/checkpoint/parts.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Named {
  std::string name;
  at::Tensor whole;
};

// Several dtypes, an odd number of 16-bit elements, a scalar, nothing, and rows that are longer than a chunk.
std::vector<Named> model() {
  return {{"layers.0.up", counted({37, 53}, at::kBFloat16)},
          {"layers.0.down", counted({7, 11, 13}, at::kFloat)},
          {"layers.1.up", counted({41, 29}, at::kDouble)},
          {"head", counted({1001}, at::kLong)},
          {"scale", counted({}, at::kFloat) + 5},
          {"none", counted({0, 7}, at::kFloat)},
          {"large", counted({3, 210241}, at::kDouble)}};
}

class CheckpointTools : public testing::TestWithParam<int> {
 protected:
  CheckpointTools() { write(run_ / "checkpoints", 100, model()); }

  static void write(const std::filesystem::path& root, int64_t step, const std::vector<Named>& tensors) {
    run_ranks(2, [&](Communicator& world) {
      std::vector<TensorPart> parts;
      for (const auto& [name, whole] : tensors) {
        const std::vector<int64_t> shape = whole.sizes().vec();
        if (shape.empty() && world.rank() == 1) continue;
        const Box box = shape.empty() ? Box::whole(shape) : cut_box(shape, shape.size() - 1, 2, world.rank());
        parts.push_back(part_of(name, whole, box));
      }
      const absl::Status status =
          write_checkpoint(root, step, parts, R"({"kept":1})", world, {.aliases = {{"output", "head"}}});
      ASSERT_TRUE(status.ok()) << status;
    });
  }

  // What rank 0 says, and the status of all ranks.
  struct Outcome {
    std::string text;
    absl::Status status;
  };
  using Tool = std::function<absl::Status(Communicator& world, const ToolOutput& output)>;
  static Outcome run(const Tool& tool) {
    std::vector<absl::Status> statuses(GetParam());
    std::ostringstream text;
    run_ranks(GetParam(), [&](Communicator& world) {
      statuses[world.rank()] = tool(world, {.out = world.rank() == 0 ? &text : nullptr});
    });
    for (const absl::Status& status : statuses) EXPECT_EQ(status, statuses[0]);
    return {text.str(), statuses[0]};
  }
  static void expect_failure(const Outcome& outcome, ErrorCategory category, const std::string& message) {
    ASSERT_FALSE(outcome.status.ok());
    EXPECT_EQ(error_category(outcome.status), category) << outcome.status;
    EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(message));
  }

  static void flip(const std::filesystem::path& path, int64_t at) {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const int byte = stream.get();
    stream.seekp(at);
    stream.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(stream.good());
  }

  Outcome verify(const std::filesystem::path& path) const {
    return run([&](auto& world, const auto& output) { return verify_checkpoint(path, world, output); });
  }
  Outcome diff(const std::filesystem::path& other, const DiffOptions& options) const {
    return run([&](auto& world, const auto& output) { return diff_checkpoints(run_, other, options, world, output); });
  }
  Outcome reshard(const ReshardOptions& options) const {
    return run([&](auto& world, const auto& output) { return reshard_checkpoint(run_, options, world, output); });
  }
  Outcome extract(const ExtractOptions& options) const {
    return run([&](auto& world, const auto& output) { return extract_tensors(run_, options, world, output); });
  }

  TemporaryFolder folder_;
  std::filesystem::path run_ = folder_ / "run";
  std::filesystem::path checkpoint_ = run_ / "checkpoints/step-00000100";
};

TEST_P(CheckpointTools, List) {
  write(run_ / "checkpoints", 200, model());
  flip(run_ / "checkpoints/step-00000200/manifest.json", 70);
  std::filesystem::create_directory(run_ / "checkpoints/step-00000300.partial");
  const auto list = [&](const std::filesystem::path& path) {
    return run([&](auto& world, const auto& output) { return list_checkpoints_of(path, world, output); });
  };
  const Outcome outcome = list(run_);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("step-00000200  not valid: "), HasSubstr("does not match its hash"),
                                  HasSubstr("step-00000100  4.8 MiB in 2 files, 7 tensors, version 2\n"),
                                  HasSubstr("step-00000300.partial  not finished")));
  EXPECT_EQ(list(run_ / "checkpoints").text, outcome.text);
  expect_failure(list(folder_ / "nothing"), ErrorCategory::kMissingInput, "nothing");
}

TEST_P(CheckpointTools, Show) {
  const auto show = [&](std::vector<std::string> patterns, bool boxes) {
    return run([&](auto& world, const auto& output) { return show_checkpoint(run_, patterns, boxes, world, output); });
  };
  const Outcome all = show({}, false);
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_THAT(all.text, AllOf(HasSubstr("output is head\n"), HasSubstr("\nlayers  (3 tensors, 17.0 KiB)\n"),
                              HasSubstr("\n  0  (2 tensors, 7.7 KiB)\n    down  F32 [7,11,13]  3.9 KiB in 2 boxes\n"),
                              HasSubstr("\nscale  F32 []  4 B in 1 box\n"), HasSubstr("\nnone  F32 [0,7]  0 B in 0")));
  const Outcome some = show({"layers.0.*", "sc?le"}, true);
  EXPECT_THAT(some.text,
              AllOf(HasSubstr("[0:37, 26:53]  boxes-00001-of-00002.safetensors, byte "), Not(HasSubstr("large"))));
  expect_failure(show({"layers.7.*"}, false), ErrorCategory::kMissingInput, "matches \"layers.7.*\"");
}

TEST_P(CheckpointTools, Verify) {
  const Outcome good = verify(run_);
  EXPECT_TRUE(good.status.ok()) << good.status;
  EXPECT_THAT(good.text, HasSubstr("4.8 MiB match their checksums"));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(checkpoint_ / "boxes-00000-of-00002.safetensors"));
  flip(checkpoint_ / "boxes-00000-of-00002.safetensors", size / 2);
  flip(checkpoint_ / "boxes-00001-of-00002.safetensors", 20);
  const Outcome bad = verify(checkpoint_);
  expect_failure(bad, ErrorCategory::kBadData, "is damaged in 2 places");
  EXPECT_THAT(std::string(bad.status.message()),
              AllOf(HasSubstr("tensor \"large\", bytes "), HasSubstr("its header, bytes 0 to ")));
  expect_failure(verify(folder_ / "none"), ErrorCategory::kMissingInput, "there is no folder");
}

TEST_P(CheckpointTools, Diff) {
  write(folder_ / "same", 5, model());
  const Outcome same = diff(folder_ / "same", {.tolerance = 0, .memory = 1000});
  EXPECT_TRUE(same.status.ok()) << same.status;
  EXPECT_EQ(same.text, "0 of 7 tensors differ\n");

  std::vector<Named> other = model();
  other[1].whole[3][4][5] += 0.25;
  other[4].whole = other[4].whole.to(at::kDouble);
  other[2].whole[40][28] = std::nan("");
  other[3].name = "body";
  other[5].whole = at::zeros({0, 8}, at::kFloat);
  run_ranks(2, [&](Communicator& world) {
    std::vector<TensorPart> parts;
    if (world.rank() == 0) {
      for (const auto& [name, whole] : other) parts.push_back(part_of(name, whole));
    }
    ASSERT_TRUE(write_checkpoint(folder_ / "other", 5, parts, "{}", world).ok());
  });
  const Outcome differ = diff(folder_ / "other", {.memory = 2000});
  EXPECT_TRUE(differ.status.ok()) << differ.status;
  EXPECT_THAT(differ.text, AllOf(HasSubstr("layers.0.down  F32 [7,11,13]  deviates by at most 0.25: 486 and 486.25\n"),
                                 HasSubstr("layers.1.up  F64 [41,29]  deviates by at most inf: 1188 and nan\n"),
                                 HasSubstr("scale  F32 [] and F64 []  deviates by at most 0: 5 and 5\n"),
                                 HasSubstr("head  only in the first\n"), HasSubstr("body  only in the second\n"),
                                 HasSubstr("none  F32 [0,7] and F32 [0,8]\n"), HasSubstr("6 of 7 tensors differ\n")));
  expect_failure(diff(folder_ / "other", {.tolerance = 1}), ErrorCategory::kBadData, "differ by more than 1");
  EXPECT_TRUE(diff(folder_ / "other", {.patterns = {"layers.0.*"}, .tolerance = 0.25}).status.ok());
  EXPECT_FALSE(diff(folder_ / "other", {.patterns = {"layers.0.*"}, .tolerance = 0.24}).status.ok());
}

TEST_P(CheckpointTools, Reshard) {
  const Outcome outcome = reshard({.output = folder_ / "new", .files = 3, .memory = 1000});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const auto checkpoint = open_any(folder_ / "new");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(find_damage((*checkpoint)->path(), (*checkpoint)->manifest())->empty());
  EXPECT_EQ((*checkpoint)->step(), 100);
  EXPECT_EQ((*checkpoint)->run_state(), R"({"kept":1})");
  EXPECT_EQ((*checkpoint)->find("output"), (*checkpoint)->find("head"));
  ASSERT_EQ((*checkpoint)->manifest().files.size(), 3U);
  for (const StoredFile& file : (*checkpoint)->manifest().files) {
    EXPECT_NEAR(static_cast<double>(file.bytes), static_cast<double>((*checkpoint)->manifest().total_bytes()) / 3,
                20'000);
  }
  EXPECT_EQ(diff(folder_ / "new", {}).text, "0 of 7 tensors differ\n");
  expect_failure(reshard({.output = folder_ / "new", .files = 2}), ErrorCategory::kUsage, "exists already");
}

// Not even by the tools is damage passed on.
TEST_P(CheckpointTools, DamageIsNotCopied) {
  const std::filesystem::path file = checkpoint_ / "boxes-00000-of-00002.safetensors";
  flip(file, static_cast<int64_t>(std::filesystem::file_size(file)) / 2);
  expect_failure(reshard({.output = folder_ / "new", .files = 3}), ErrorCategory::kBadData, "tensor \"large\"");
  EXPECT_TRUE(list_checkpoints(folder_ / "new")->steps.empty());
  EXPECT_TRUE(list_checkpoints(folder_ / "new")->unfinished.empty());
  expect_failure(extract({.output = folder_ / "all.safetensors"}), ErrorCategory::kBadData, "tensor \"large\"");
  for (const auto& left : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_THAT(left.path().string(), Not(HasSubstr("all.safetensors")));
  }
}

TEST_P(CheckpointTools, Extract) {
  const std::string all = folder_ / "all.safetensors";
  const Outcome merged = extract({.output = all, .memory = 1000});
  ASSERT_TRUE(merged.status.ok()) << merged.status;
  const auto file = SafetensorsReader::open(all);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->entries().size(), 7U);
  for (const auto& [name, whole] : model()) {
    const auto entry = file->find(name);
    ASSERT_TRUE(entry.ok()) << entry.status();
    EXPECT_EQ((*entry)->begin % static_cast<int64_t>(whole.element_size()), 0);
    at::Tensor data = at::empty_like(whole);
    ASSERT_TRUE(file->read(**entry, data.mutable_data_ptr()).ok());
    EXPECT_TRUE(same_bits(data, whole)) << name;
  }
  const std::string some = folder_ / "some.safetensors";
  ASSERT_TRUE(extract({.patterns = {"layers.0.*", "head"}, .output = some}).status.ok());
  EXPECT_EQ(SafetensorsReader::open(some)->entries().size(), 3U);
  expect_failure(extract({.output = some}), ErrorCategory::kUsage, "exists already");
  expect_failure(extract({.patterns = {"x"}, .output = folder_ / "x"}), ErrorCategory::kMissingInput, "matches \"x\"");
}

INSTANTIATE_TEST_SUITE_P(Ranks, CheckpointTools, testing::Values(1, 3),
                         [](const auto& of) { return "On" + std::to_string(of.param); });

}  // namespace
}  // namespace switchyard
