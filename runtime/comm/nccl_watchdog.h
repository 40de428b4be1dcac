// Watches the NCCL groups of a process: a thread that looks for errors and deadlines, since a device that waits for a
// peer tells nobody.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/comm/nccl_group.h"

namespace switchyard {

class NcclWatchdog {
 public:
  NcclWatchdog();
  ~NcclWatchdog();
  NcclWatchdog(const NcclWatchdog&) = delete;
  NcclWatchdog& operator=(const NcclWatchdog&) = delete;

  // Watched until nobody else holds it.
  void add(const std::shared_ptr<NcclGroup>& group);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::vector<std::weak_ptr<NcclGroup>> groups_;
  std::thread thread_;  // last, since it uses the others
};

}  // namespace switchyard
