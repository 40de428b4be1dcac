// metrics.jsonl: one JSON object a step, in the order of the steps, each step once also over resumes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/trace/step_profile.h"
#include "launch/train/expert_use.h"
#include "runtime/storage/file.h"

namespace switchyard {

// What is known of a step when it is done. Figures are over all ranks unless said otherwise.
struct StepMetrics {
  int64_t step = 0;  // from 1
  double loss = 0;   // cross-entropy per target, alone
  double grad_norm = 0;
  double lr = 0;
  int64_t tokens = 0;  // trained on so far, this step included
  double tokens_per_second = 0;
  double step_seconds = 0;
  int64_t memory_bytes = 0;  // of the rank with the most
  double mfu = 0;            // model FLOPs over the ranks' peak; 0: unknown
  bool skipped = false;      // loss or gradient was not finite; nothing was updated
  std::optional<double> validation_loss;
  std::map<int64_t, std::map<std::string, double>> validation_moe_layers;
  std::map<int64_t, ExpertUse> expert_use;                      // of validation data
  std::map<std::string, double> moe;                            // MoeFigures::all
  std::map<int64_t, std::map<std::string, double>> moe_layers;  // MoeFigures::layers
  std::optional<ProfiledStep> profile;
};

// One line, without its end. Numbers that are not finite become null.
std::string to_json(const StepMetrics& metrics);

// Rank 0 only.
class MetricsFile {
 public:
  // Goes on after `last_step` (0: from the start): later records and a torn last line are dropped first, the rest is
  // kept byte for byte. Errors are kIo, or kBadData where a complete line is no record.
  static absl::StatusOr<MetricsFile> open(const std::string& path, int64_t last_step);

  // Written through to the kernel, so that a killed run has all its steps.
  absl::Status append(const StepMetrics& metrics);
  // What was appended survives a power cut from here on. Before a checkpoint, which needs the records up to its step.
  absl::Status sync();

 private:
  MetricsFile(std::string path, FileDescriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  FileDescriptor file_;
};

}  // namespace switchyard
