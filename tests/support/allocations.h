// The sizes of what this thread allocates for tensors on the host, from now on until it goes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace switchyard {

class Allocations {
 public:
  Allocations() : report_(std::make_shared<Report>()), guard_(c10::DebugInfoKind::PROFILER_STATE, report_) {}

  int64_t largest() const { return report_->largest; }  // bytes

 private:
  struct Report : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
      largest = std::max(largest, bytes);
    }
    bool memoryProfilingEnabled() const override { return true; }

    int64_t largest = 0;
  };

  const std::shared_ptr<Report> report_;
  const c10::DebugInfoGuard guard_;
};

}  // namespace switchyard
