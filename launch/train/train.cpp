#include "launch/train/train.h"

#include <iostream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "launch/config/document.h"
#include "launch/data/description.h"
#include "launch/start/devices.h"
#include "launch/start/own_build.h"
#include "launch/start/start_run.h"
#include "launch/train/create_mesh.h"
#include "launch/train/estimate.h"
#include "launch/train/flops.h"
#include "launch/train/loop.h"
#include "launch/train/run_directory.h"
#include "launch/train/saving.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

absl::Status print_estimate(const Job& job, Console* console) {
  MemoryEstimate largest = estimate_memory(job);
  at::Tensor bytes = at::tensor({largest.rank_parameters, largest.values, largest.gradients, largest.optimizer,
                                 largest.activations, largest.checkpoint});
  SY_RETURN_IF_ERROR(job.mesh.world().all_reduce(bytes, ReduceOp::kMax).wait());
  largest.rank_parameters = bytes[0].item<int64_t>();
  largest.values = bytes[1].item<int64_t>();
  largest.gradients = bytes[2].item<int64_t>();
  largest.optimizer = bytes[3].item<int64_t>();
  largest.activations = bytes[4].item<int64_t>();
  largest.checkpoint = bytes[5].item<int64_t>();
  if (console) console->line(describe(largest, job.config, job.mesh.shape()));
  return absl::OkStatus();
}

absl::Status begin(Job& job, Console* console) {
  SY_ASSIGN_OR_RETURN(const std::string checkpoint, restore_latest(job, job.config.checkpoint.resume, console));
  if (checkpoint.empty()) {
    job.optimizer->initialise_all(job.config.run.seed);
    return absl::OkStatus();
  }
  if (console) console->line(absl::StrCat("resumed from ", checkpoint));
  return absl::OkStatus();
}

// What the validation loss has to beat, where the data set says it.
absl::Status print_validation(const Job& job, Console& console) {
  if (!job.validation) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(const auto description, read_description(job.config.data.validation));
  if (!description || !description->unigram_loss) return absl::OkStatus();
  console.line(absl::StrFormat("validation  %d tokens; knowing only token frequencies gives a loss of %.3f",
                               description->tokens, *description->unigram_loss));
  return absl::OkStatus();
}

// FLOP/s of all ranks together, measured while all are busy.
absl::StatusOr<double> peak_of_all_ranks(const RunConfig& config, c10::Device device, Communicator& world) {
  double peak = config.run.peak_gflops * 1e9;
  if (peak == 0) {
    SY_RETURN_IF_ERROR(world.barrier().wait());
    peak = measure_peak(at::dtype(compute_dtype(config.train.compute_precision())).device(device), 0.3);
  }
  return reduce_number(world, peak, ReduceOp::kSum);
}

absl::Status open_outputs(const Job& job, std::optional<MetricsFile>& metrics, const RunDirectory& directory) {
  SY_ASSIGN_OR_RETURN(MetricsFile file, MetricsFile::open(directory.metrics_path(), job.state.step));
  metrics.emplace(std::move(file));
  return absl::OkStatus();
}

}  // namespace

absl::Status train(const TrainOptions& options, Communicator& world) {
  const RunConfig& config = options.config;
  const bool speaks = world.rank() == 0;
  std::optional<Console> console_storage;
  if (speaks) console_storage.emplace(std::cout, output_is_terminal(), 0, config.train.steps);
  Console* const console = speaks ? &*console_storage : nullptr;

  SY_ASSIGN_OR_RETURN(const ChosenDevice device, choose_rank_device(config.run.device, world));
  SY_ASSIGN_OR_RETURN(const int64_t vocabulary, agree(world, resolve_vocabulary(config)));
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  SY_ASSIGN_OR_RETURN(const RunStart start, start_run(world, {.build = own_build(),
                                                              .config_text = dump_yaml(config),
                                                              // A dry run creates nothing.
                                                              .run_folder = options.dry_run ? "" : config.run.dir,
                                                              .device = device.description,
                                                              .tensor = shape.tensor}));
  if (console) console->line(start.report);
  const int threads = config.run.threads > 0 ? config.run.threads : start.threads;
  at::set_num_threads(threads);

  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> wires,
                      connect_devices(device, world, absl::Seconds(config.communication.timeout)));
  const auto tell = [console](const std::string& line) {
    if (console) console->line(line);
  };
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, device.device, wires ? *wires : world, tell));
  Recorder unused;
  Recorder& recorder = options.trace     ? options.trace->recorder()
                       : options.profile ? options.profile->recorder()
                                         : unused;
  const std::unique_ptr<Job> job = build_job(config, vocabulary, *mesh, device.device, recorder);
  SY_RETURN_IF_ERROR(print_estimate(*job, console));
  if (options.dry_run) return absl::OkStatus();

  std::optional<RunDirectory> directory;
  const auto open_directory = [&]() -> absl::Status {
    if (!speaks) return absl::OkStatus();
    SY_ASSIGN_OR_RETURN(RunDirectory opened, RunDirectory::open(config, console));
    directory.emplace(std::move(opened));
    return absl::OkStatus();
  };
  SY_RETURN_IF_ERROR(agree(world, open_directory()));
  SY_RETURN_IF_ERROR(agree(world, open_data(*job)));
  SY_RETURN_IF_ERROR(agree(world, console ? print_validation(*job, *console) : absl::OkStatus()));
  job->state.config = dump_yaml(config);
  job->state.vocabulary = vocabulary;
  job->state.layout =
      RunLayout{.ranks = shape.ranks(),
                .threads = threads,
                .data = shape.data,
                .tensor = shape.tensor,
                .expert = shape.expert,
                .expert_tensor = shape.expert_tensor,
                .dispatcher = describe_dispatch(mesh->shape().dispatcher, mesh->shape().dispatch_chunks)};
  SY_RETURN_IF_ERROR(begin(*job, console));
  SY_RETURN_IF_ERROR(open_writer(*job));

  std::optional<MetricsFile> metrics;
  SY_RETURN_IF_ERROR(agree(world, speaks ? open_outputs(*job, metrics, *directory) : absl::OkStatus()));
  SY_ASSIGN_OR_RETURN(const double peak, peak_of_all_ranks(config, device.device, world));
  if (console) console_storage.emplace(std::cout, output_is_terminal(), job->state.step, config.train.steps);
  SY_RETURN_IF_ERROR(run_loop(*job, {.command = options.command,
                                     .peak_flops = peak,
                                     .stop_requested = options.stop_requested,
                                     .console = console,
                                     .metrics = metrics ? &*metrics : nullptr,
                                     .trace = options.trace,
                                     .profile = options.profile}));
  if (console) {
    console->line(absl::StrCat("done: ", job->state.step, " steps; checkpoints in ", checkpoints_folder(config),
                               ", metrics in ", config.run.dir, "/metrics.jsonl"));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
