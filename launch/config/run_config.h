// Everything that a run is configured by, section by section. Components own their sections' structs; those of the run
// itself are here.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/data/data_config.h"
#include "layers/models/decoder/config.h"
#include "parallel/optimizer/config.h"
#include "parallel/topology/mesh.h"
#include "runtime/base/status.h"
#include "runtime/numerics/precision.h"

namespace switchyard {

struct RunSection {
  std::string dir = "runs/default";
  int64_t seed = 1234;
  std::string device = "auto";
  int threads = 0;
  double peak_gflops = 0;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("dir", dir, "run directory: config.yaml, metrics.jsonl, checkpoints/");
    v("seed", seed, "of initial weights and data order").at_least(0);
    v("device", device,
      "where tensors live; auto: a CUDA device for each rank where the build and the host have them, else cpu")
        .one_of({"auto", "cpu", "cuda"});
    v("threads", threads, "threads a rank; auto: the cores that it is bound to").zero_is("auto").at_least(1);
    v("peak_gflops", peak_gflops, "peak of one rank in GFLOP/s, for MFU; auto: measured at the start")
        .zero_is("auto")
        .above(0);
  }
  absl::Status validate() const;
};

struct TrainConfig {
  int64_t steps = 1000;
  int64_t global_batch = 64;
  int64_t accumulation = 1;
  std::string precision = "bf16";
  int64_t validate_every = 100;
  std::string recompute = "none";
  int max_skipped = 10;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("steps", steps, "optimizer steps of the whole run").at_least(1);
    v("global_batch", global_batch, "sequences a step, over all ranks").at_least(1);
    v("accumulation", accumulation, "equal parts of a step, one after another; a part is what routing sees")
        .at_least(1);
    v("precision", precision, "of matrix products; bf16 keeps fp32 masters, fp64 runs everything in double")
        .one_of({"bf16", "fp32", "fp64"});
    v("validate_every", validate_every, "steps between validations").zero_is("never").at_least(1);
    v("recompute", recompute,
      "activation: feed-forward layers, experts and the loss keep only their inputs and compute what is inside again "
      "in backward, logits for some rows at a time; layer: so does each layer as a whole")
        .one_of({"none", "activation", "layer"});
    v("max_skipped", max_skipped,
      "steps in a row with a loss or gradient that is not finite, after which the run stops")
        .at_least(1);
  }
  absl::Status validate() const;
  Precision compute_precision() const;
};

struct CheckpointConfig {
  int64_t every = 200;
  int keep = 3;
  int64_t keep_every = 0;
  bool async = true;
  int in_flight = 1;
  std::string verify = "load";
  std::string resume = "auto";

  template <typename Visitor>
  void visit(Visitor& v) {
    v("every", every, "steps between checkpoints; one more at the end; never: none at all")
        .zero_is("never")
        .at_least(1);
    v("keep", keep, "newest checkpoints that stay").zero_is("all").at_least(1);
    v("keep_every", keep_every, "checkpoints whose step is a multiple of it stay as well").zero_is("none").at_least(1);
    v("async", async, "write from a copy in memory while training goes on; false: training waits");
    v("in_flight", in_flight, "copies, of the size of a rank's share, that may be waiting to be written").at_least(1);
    v("verify", verify,
      "load: data is compared with its checksums when it is loaded; always: also as soon as it is written")
        .one_of({"load", "always"});
    v("resume", resume, "auto: the newest of run.dir, if any; never: from the start; or a checkpoint's directory");
  }
  absl::Status validate() const;
};

struct CommunicationConfig {
  double timeout = 300;
  int bucket_mb = 8;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("timeout", timeout, "seconds after which a silent peer ends the job").above(0);
    v("bucket_mb", bucket_mb, "MiB of gradients that are reduced together").at_least(1);
  }
};

struct RunConfig {
  RunSection run;
  DecoderConfig model;
  DataConfig data;
  TrainConfig train;
  OptimizerConfig optimizer;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  CommunicationConfig communication;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.section("run", run, "where and on what the run runs");
    v.section("model", model, "what is trained");
    v.section("data", data, "what is read");
    v.section("train", train, "the length and the shape of steps");
    v.section("optimizer", optimizer, "how parameters are updated");
    v.section("parallel", parallel, "which ranks share what; both grids factor the same ranks");
    v.section("checkpoint", checkpoint, "saving and resuming");
    v.section("communication", communication, "between ranks");
  }
  absl::Status validate() const;
  // Of a step's part, over all ranks.
  int64_t part_tokens() const { return train.global_batch / train.accumulation * data.sequence; }
  // Tokens of a step's part that an expert takes at most; 0: no limit. kBadConfig where a limit rounds to zero.
  absl::StatusOr<int64_t> expert_slots() const;
};

// OK where `current` may go on from a checkpoint of a run with `saved`. Model, data, seed, batch, precision and the
// kind of optimizer make a run what it is; layout, steps, learning rate and the rest may change. Otherwise a kBadConfig
// error that names each differing key with both values.
absl::Status compare_for_resume(RunConfig saved, RunConfig current);

}  // namespace switchyard
