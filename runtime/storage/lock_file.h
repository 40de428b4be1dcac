// A lock that one process holds at a time, also over hosts that share the file system. The kernel's lock (flock)
// decides where the file system has it; beside it the file names its holder, who touches it again and again, so that
// hosts which do not see each other's locks can tell a holder that lives from one that was killed. Free of LibTorch.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "runtime/storage/file.h"

namespace switchyard {

struct LockOptions {
  absl::Duration beat = absl::Seconds(5);  // between two touches
  // How long a holder on another host may not touch it until it counts as gone; such a holder is watched that long.
  absl::Duration patience = absl::Seconds(20);
  bool use_flock = true;                                // false: as on a file system without it
  std::function<void(const std::string&)> notice = {};  // told before the wait, and of a lock that was taken over
};

class LockFile {
 public:
  // kUnavailable where another process holds it, saying which; kIo. Of a killed holder's lock the next one takes hold.
  static absl::StatusOr<std::unique_ptr<LockFile>> acquire(const std::filesystem::path& path,
                                                           const LockOptions& options = {});
  ~LockFile();  // lets go; the file stays
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

 private:
  LockFile(FileDescriptor file, absl::Duration beat);
  void touch_again_and_again();

  const FileDescriptor file_;
  const absl::Duration beat_;
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;
  std::thread thread_;  // last, since it uses the others
};

}  // namespace switchyard
