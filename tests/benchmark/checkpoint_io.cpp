// Times of checkpoints, under mpirun:
//   benchmark_checkpoint_io save FOLDER MIB ROUNDS   writes MIB of fp32 tensors, rows spread over ranks, ROUNDS times
//   benchmark_checkpoint_io load FOLDER ROUNDS       reads the newest into columns spread over ranks, ROUNDS times
// Each prints one JSON line; seconds are from a barrier to the end of the slowest rank. For compare_dcp.py, and by
// hand.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <nlohmann/json.hpp>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/base/status.h"
#include "runtime/comm/mpi.h"
#include "tests/benchmark/rank_timing.h"

namespace switchyard {
namespace {

constexpr int64_t kSide = 2048;  // of the square tensors, 16 MiB each

// Rows or columns of all tensors that this rank holds.
std::vector<TensorPart> parts_of_rank(int64_t tensors, size_t dimension, Communicator& world) {
  std::vector<TensorPart> parts;
  for (int64_t i = 0; i < tensors; ++i) {
    Box box = Box::whole({kSide, kSide});
    const auto [begin, end] = cut(kSide, world.size(), world.rank());
    box.offset[dimension] = begin;
    box.extent[dimension] = end - begin;
    const double value = static_cast<double>(i * world.size() + world.rank());
    parts.push_back({absl::StrCat("layers.", i, ".weight"),
                     at::kFloat,
                     {kSide, kSide},
                     box,
                     at::full(box.extent, value, at::kFloat)});
  }
  return parts;
}

void save_rounds(const std::string& folder, int64_t mib, int rounds, Communicator& world) {
  const std::vector<TensorPart> parts = parts_of_rank(std::max<int64_t>(1, mib / 16), 0, world);
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    if (world.rank() == 0) std::filesystem::remove_all(folder);
    seconds.push_back(seconds_of(world, [&] { throw_if_error(write_checkpoint(folder, 1, parts, "{}", world)); }));
  }
  print(world, {{"what", "save"}, {"seconds", seconds}});
}

void load_rounds(const std::string& folder, int rounds, Communicator& world) {
  const auto stored = value_or_throw(Checkpoint::open(checkpoint_path(folder, 1)));
  const std::vector<TensorPart> parts = parts_of_rank(static_cast<int64_t>(stored->tensors().size()), 1, world);
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    seconds.push_back(seconds_of(world, [&] {
      const LatestCheckpoint latest = value_or_throw(find_latest(folder, world));
      throw_if_error(latest.checkpoint->read(parts));
    }));
  }
  print(world, {{"what", "load"}, {"seconds", seconds}});
}

int run(int argc, char** argv) try {
  const auto session = value_or_throw(MpiSession::start(&argc, &argv));
  at::set_num_threads(1);
  Communicator& world = session->world();
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "save" && argc == 5) {
    save_rounds(argv[2], std::atol(argv[3]), std::atoi(argv[4]), world);
  } else if (mode == "load" && argc == 4) {
    load_rounds(argv[2], std::atoi(argv[3]), world);
  } else {
    std::cerr << "save FOLDER MIB ROUNDS | load FOLDER ROUNDS\n";
    return 64;
  }
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
