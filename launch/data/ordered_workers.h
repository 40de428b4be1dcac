// Work spread over threads whose results are consumed in the order in which the inputs came, so that the outcome does
// not depend on the number of threads. At most one item a thread is in memory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/base/status.h"

namespace switchyard {

// `produce` gives the next input (nothing: the end) and `consume` takes the next output; neither ever runs beside
// itself. `work` runs in all threads. Ends at the first error in input order and returns it; exceptions are passed on.
template <typename Input, typename Output>
class OrderedWorkers {
 public:
  OrderedWorkers(std::function<absl::StatusOr<std::optional<Input>>()> produce,
                 std::function<absl::StatusOr<Output>(Input)> work, std::function<absl::Status(Output)> consume)
      : produce_(std::move(produce)), work_(std::move(work)), consume_(std::move(consume)) {}

  absl::Status run(int64_t threads) {
    std::vector<std::thread> pool;
    for (int64_t i = 1; i < threads; ++i) pool.emplace_back([this] { run_one(); });
    run_one();
    for (std::thread& thread : pool) thread.join();
    if (exception_) std::rethrow_exception(exception_);
    return result_;
  }

 private:
  void run_one() {
    try {
      while (step()) {
      }
    } catch (...) {
      const std::lock_guard lock(order_mutex_);
      if (!exception_) exception_ = std::current_exception();
      stopped_ = true;
      turn_came_.notify_all();
    }
  }

  bool step() {
    int64_t index = 0;
    absl::StatusOr<std::optional<Input>> input = take(index);
    if (input.ok() && !input->has_value()) return false;
    absl::StatusOr<Output> output = input.ok() ? work_(**std::move(input)) : absl::StatusOr<Output>(input.status());

    std::unique_lock lock(order_mutex_);
    turn_came_.wait(lock, [&] { return stopped_ || turn_ == index; });
    if (stopped_) return false;
    result_ = output.ok() ? consume_(*std::move(output)) : output.status();
    stopped_ = !result_.ok();
    ++turn_;
    turn_came_.notify_all();
    return !stopped_;
  }

  absl::StatusOr<std::optional<Input>> take(int64_t& index) {
    const std::lock_guard lock(produce_mutex_);
    if (ended_) return std::optional<Input>();
    absl::StatusOr<std::optional<Input>> input = produce_();
    ended_ = !input.ok() || !input->has_value();
    index = next_++;
    return input;
  }

  const std::function<absl::StatusOr<std::optional<Input>>()> produce_;
  const std::function<absl::StatusOr<Output>(Input)> work_;
  const std::function<absl::Status(Output)> consume_;

  std::mutex produce_mutex_;
  bool ended_ = false;
  int64_t next_ = 0;

  std::mutex order_mutex_;
  std::condition_variable turn_came_;
  int64_t turn_ = 0;
  bool stopped_ = false;
  absl::Status result_;
  std::exception_ptr exception_;
};

}  // namespace switchyard
