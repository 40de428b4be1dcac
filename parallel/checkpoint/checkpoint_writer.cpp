#include "parallel/checkpoint/checkpoint_writer.h"

#include <exception>
#include <utility>

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {

CheckpointWriter::CheckpointWriter(std::filesystem::path root, std::unique_ptr<Communicator> control, int in_flight)
    : root_(std::move(root)), control_(std::move(control)), snapshots_(in_flight) {
  if (in_flight > 0) thread_ = std::thread([this] { run(); });
}

CheckpointWriter::~CheckpointWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::save(int64_t step, std::span<const TensorPart> parts, const std::string& run_state,
                            const WriteOptions& options) {
  const int64_t number = begun_++;
  if (snapshots_.empty()) {
    absl::Status status = write(step, parts, run_state, options);
    const std::lock_guard lock(mutex_);
    outcomes_.push_back({step, std::move(status)});
    ++ended_;
    return;
  }
  const auto slots = static_cast<int64_t>(snapshots_.size());
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return number - ended_ < slots; });
  }
  Snapshot& snapshot = snapshots_[number % slots];
  snapshot.take(parts);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({step, &snapshot, run_state, options});
  }
  changed_.notify_all();
}

int64_t CheckpointWriter::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

std::vector<SaveOutcome> CheckpointWriter::take_ended(int64_t count) {
  SY_CHECK_LE(count, begun_);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_ >= count; });
  std::vector<SaveOutcome> taken;
  for (; returned_ < count; ++returned_) {
    taken.push_back(std::move(outcomes_.front()));
    outcomes_.pop_front();
  }
  return taken;
}

absl::Status CheckpointWriter::write(int64_t step, std::span<const TensorPart> parts, const std::string& run_state,
                                     const WriteOptions& options) try {
  return write_checkpoint(root_, step, parts, run_state, *control_, options);
} catch (const std::exception& e) {
  return error(ErrorCategory::kInternal, absl::StrCat("checkpoint not written: ", e.what()));
}

void CheckpointWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Save& next = queue_.front();  // which save() does not move
    lock.unlock();
    absl::Status status = write(next.step, next.snapshot->parts(), next.run_state, next.options);
    lock.lock();
    outcomes_.push_back({next.step, std::move(status)});
    queue_.pop_front();
    ++ended_;
    changed_.notify_all();
  }
}

}  // namespace switchyard
