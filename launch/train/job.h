// What a training run consists of on this rank, built in one place for a mesh.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "launch/data/batch_loader.h"
#include "launch/train/assemble.h"
#include "launch/train/run_state.h"
#include "layers/models/decoder/decoder.h"
#include "parallel/checkpoint/checkpoint_writer.h"
#include "parallel/gradient/reducer.h"
#include "parallel/optimizer/adamw.h"
#include "parallel/topology/mesh.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

struct Job {
  const RunConfig& config;
  const Mesh& mesh;
  Recorder& recorder;
  c10::Device device = c10::kCPU;  // of this rank
  int64_t vocabulary = 0;

  std::unique_ptr<Decoder> model = nullptr;
  std::unique_ptr<GradientReducer> reducer = nullptr;
  std::unique_ptr<ShardedAdamW> optimizer = nullptr;
  std::unique_ptr<BatchLoader> batches = nullptr;
  std::unique_ptr<ValidationLoader> validation = nullptr;  // without validation data it stays so
  std::vector<std::string> validation_tags = {};           // names of its tags 0, 1, …; empty: it carries none
  RunState state = {};
  std::unique_ptr<CheckpointWriter> writer = nullptr;  // only what trains has one
};

// The vocabulary that config and tokenizer agree on. kMissingInput, kBadData or kBadConfig. Local.
absl::StatusOr<int64_t> resolve_vocabulary(const RunConfig& config);

// Allocates parameters, gradients and optimizer state on `device`; initialises nothing. All arguments outlive the job.
// Local.
std::unique_ptr<Job> build_job(const RunConfig& config, int64_t vocabulary, const Mesh& mesh, c10::Device device,
                               Recorder& recorder, const Decorators& decorators = {});

// Opens the data and notes in the state which it is. kMissingInput, kBadData, or kBadConfig where its tags are not what
// the router learns from. Local.
absl::Status open_data(Job& job);

}  // namespace switchyard
