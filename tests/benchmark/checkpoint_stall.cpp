// How long training stands still for a checkpoint that is written in the background, under mpirun:
//   benchmark_checkpoint_stall CONFIG FOLDER
// trains the config's steps, and after each saves and takes another. Prints one JSON line; seconds are from a barrier
// to the end of the slowest rank. The copy is one memcpy of the rank's state into memory that has been used before.

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/time/clock.h>
#include <nlohmann/json.hpp>

#include "launch/config/binder.h"
#include "launch/train/job.h"
#include "launch/train/saving.h"
#include "launch/train/train_step.h"
#include "runtime/base/status.h"
#include "runtime/comm/mpi.h"
#include "tests/benchmark/rank_timing.h"
#include "tests/benchmark/timing.h"

namespace switchyard {
namespace {

// One copy of the rank's state, into memory that has been touched before.
double copy_seconds(const std::vector<TensorPart>& state, Communicator& world) {
  size_t bytes = 0;
  for (const TensorPart& part : state) bytes += part.data.nbytes();
  const at::Tensor buffer = at::zeros({static_cast<int64_t>(bytes)}, at::kByte);
  return seconds_of(world, [&] {
    char* to = static_cast<char*>(buffer.mutable_data_ptr());
    for (const TensorPart& part : state) {
      std::memcpy(to, part.data.const_data_ptr(), part.data.nbytes());
      to += part.data.nbytes();
    }
  });
}

void stall(const std::string& path, const std::string& folder, Communicator& world) {
  const RunConfig config = value_or_throw(read_config<RunConfig>(path, std::vector<std::string>{"run.dir=" + folder}));
  const MeshShape shape = value_or_throw(
      resolve_mesh(config.parallel, world.size(), config.model.attention.heads, config.model.attention.kv_heads));
  const std::unique_ptr<Mesh> mesh = value_or_throw(Mesh::create(world, shape));
  Recorder recorder;
  const std::unique_ptr<Job> job =
      build_job(config, value_or_throw(resolve_vocabulary(config)), *mesh, c10::kCPU, recorder);
  throw_if_error(open_data(*job));
  job->optimizer->initialise_all(config.run.seed);
  throw_if_error(open_writer(*job));
  throw_if_error(train_step(*job).status());  // first uses of memory

  std::vector<double> copies, stalls, steps, steps_beside;
  for (int64_t round = 0; round < config.train.steps; ++round) {
    steps.push_back(seconds_of(world, [&] { throw_if_error(train_step(*job).status()); }));
    copies.push_back(copy_seconds(job->optimizer->state(), world));
    stalls.push_back(seconds_of(world, [&] { save(*job); }));
    steps_beside.push_back(seconds_of(world, [&] { throw_if_error(train_step(*job).status()); }));
    for (const SaveOutcome& outcome : job->writer->take_ended(job->writer->begun())) throw_if_error(outcome.status);
  }
  int64_t bytes = 0;
  for (const TensorPart& part : job->optimizer->state()) bytes += static_cast<int64_t>(part.data.nbytes());
  const double first = stalls.front();
  stalls.erase(stalls.begin());
  const double step = median(steps);
  print(world, {{"what", "stall"},
                {"state_mib_of_rank_0", bytes >> 20},
                {"copy_seconds", median(copies)},
                {"stall_seconds", median(stalls)},
                {"first_stall_seconds", first},
                {"step_seconds", step},
                {"step_seconds_while_writing", median(steps_beside)},
                {"stall_beyond_copy_of_a_step", (median(stalls) - median(copies)) / step}});
}

int run(int argc, char** argv) try {
  const auto session = value_or_throw(MpiSession::start(&argc, &argv));
  at::set_num_threads(1);
  Communicator& world = session->world();
  if (argc != 3) {
    std::cerr << "benchmark_checkpoint_stall CONFIG FOLDER\n";
    return 64;
  }
  stall(argv[1], argv[2], world);
  return 0;
} catch (const std::exception& e) {
  std::cerr << e.what() << std::endl;
  std::_Exit(70);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::run(argc, argv);
}
