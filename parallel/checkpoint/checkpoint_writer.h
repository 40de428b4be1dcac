// Writes a run's checkpoints while training goes on: a save copies this rank's parts and returns, and a thread writes
// the copy. The threads of all ranks talk over a communicator of their own, so no ordering is shared with training.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <absl/status/status.h>

#include "parallel/checkpoint/snapshot.h"
#include "parallel/checkpoint/tensor_part.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

struct SaveOutcome {
  int64_t step = 0;
  absl::Status status;  // write_checkpoint's: the same on all ranks
};

class CheckpointWriter {
 public:
  // Collective in effect: all ranks of `control` make a writer with equal `root` and `in_flight`. `control` is used by
  // the writer alone. `in_flight`: saves that may be under way at once, each with a copy of the parts in host memory;
  // 0: a save writes from the parts themselves, and returns when it is done.
  CheckpointWriter(std::filesystem::path root, std::unique_ptr<Communicator> control, int in_flight);
  ~CheckpointWriter();  // waits for what is under way
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // All ranks make the same saves in the same order. Waits first while as many as in_flight are under way. How it ended
  // is told by take_ended().
  void save(int64_t step, std::span<const TensorPart> parts, const std::string& run_state, const WriteOptions& options);

  int64_t begun() const { return begun_; }
  int64_t ended() const;  // of those begun, on this rank; other ranks may be a little ahead or behind
  // Waits until `count` of all saves have ended, and returns how those did of them that were not returned before, in
  // order. With an equal count on all ranks the answer is the same.
  std::vector<SaveOutcome> take_ended(int64_t count);

 private:
  struct Save {
    int64_t step;
    const Snapshot* snapshot;
    std::string run_state;
    WriteOptions options;
  };

  absl::Status write(int64_t step, std::span<const TensorPart> parts, const std::string& run_state,
                     const WriteOptions& options);
  void run();

  const std::filesystem::path root_;
  const std::unique_ptr<Communicator> control_;
  std::vector<Snapshot> snapshots_;  // save number n has n % size
  int64_t begun_ = 0;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Save> queue_;  // the first is under way
  int64_t ended_ = 0;
  std::deque<SaveOutcome> outcomes_;  // not returned yet
  int64_t returned_ = 0;
  bool stopping_ = false;
  std::thread thread_;  // last, since it uses the others
};

}  // namespace switchyard
