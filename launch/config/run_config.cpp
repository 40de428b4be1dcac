#include "launch/config/run_config.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "launch/config/document.h"

namespace switchyard {
namespace {

constexpr std::string_view kFixedSections[] = {"model.", "data."};
constexpr std::string_view kFixedKeys[] = {"run.seed", "train.global_batch", "train.accumulation", "train.precision",
                                           "optimizer.kind"};

bool may_change(const std::string& path) {
  if (path == "data.validation_sequences") return true;
  for (const std::string_view section : kFixedSections) {
    if (path.compare(0, section.size(), section) == 0) return false;
  }
  return std::find(std::begin(kFixedKeys), std::end(kFixedKeys), path) == std::end(kFixedKeys);
}

}  // namespace

absl::Status RunSection::validate() const {
  if (dir.empty()) return error(ErrorCategory::kBadConfig, "dir must name a directory");
  return absl::OkStatus();
}

absl::Status TrainConfig::validate() const {
  if (global_batch % accumulation == 0) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig, absl::StrCat("global_batch is ", global_batch, ", which accumulation ",
                                                       accumulation, " does not divide into equal parts"));
}

Precision TrainConfig::compute_precision() const {
  return precision == "bf16" ? Precision::kBf16 : precision == "fp32" ? Precision::kFp32 : Precision::kFp64;
}

absl::Status CheckpointConfig::validate() const {
  if (resume.empty()) return error(ErrorCategory::kBadConfig, "resume must be auto, never or a directory");
  return absl::OkStatus();
}

absl::Status RunConfig::validate() const {
  const MoeConfig& moe = model.moe;
  if (moe.share_layers > 1 && train.recompute == "layer") {
    return error(
        ErrorCategory::kBadConfig,
        "train.recompute=layer does not go with model.moe.share_layers: a layer that is computed again must be "
        "the only one that uses its experts");
  }
  if (parallel.dispatch_chunks != 1 && moe.router.capacity.pad) {
    return error(
        ErrorCategory::kBadConfig,
        "parallel.dispatch_chunks does not go with model.moe.router.capacity.pad: a chunk's rows are fewer than "
        "the capacity that experts are filled up to");
  }
  return expert_slots().status();
}

absl::StatusOr<int64_t> RunConfig::expert_slots() const {
  const MoeConfig& moe = model.moe;
  if (moe.experts == 0 || moe.router.limit_factor() == 0) return 0;
  return slots_per_expert(moe.router.limit_factor(), part_tokens(), moe.experts_per_token, moe.experts);
}

absl::Status compare_for_resume(RunConfig saved, RunConfig current) {
  const auto before = flat_values(schema_of(saved));
  std::string differences;
  int count = 0;
  for (const auto& [path, value] : flat_values(schema_of(current))) {
    const std::string& old = before.at(path);
    if (value == old || may_change(path)) continue;
    absl::StrAppend(&differences, count == 0 ? "" : "\n", path, " was ", old, " and is now ", value);
    ++count;
  }
  if (count == 0) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig, differences);
}

}  // namespace switchyard
