#include "runtime/comm/operation.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/time/time.h>

#include "runtime/base/status.h"
#include "runtime/comm/deadline.h"
#include "runtime/comm/reduce.h"
#include "runtime/telemetry/in_span.h"

namespace switchyard {
namespace {

// How a waiting rank leaves the core to others: first it only steps aside, since most waits are short, then it sleeps.
class Patience {
 public:
  void pause() {
    if (std::chrono::steady_clock::now() < sleep_from_) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  const std::chrono::steady_clock::time_point sleep_from_ =
      std::chrono::steady_clock::now() + std::chrono::microseconds(200);
};

}  // namespace

Operation::Operation(std::shared_ptr<Transport> transport, Plan plan, uint32_t tag, absl::Duration timeout,
                     OperationLabel label, std::shared_ptr<const WireObserver> observer)
    : transport_(std::move(transport)),
      tag_(tag),
      timeout_(timeout),
      deadline_(deadline_after(timeout)),
      label_(std::move(label)),
      observer_(std::move(observer)),
      plan_(std::move(plan)) {}

void Operation::post() {
  const std::lock_guard lock(mutex_);
  if (plan_.steps.empty()) return finish(absl::OkStatus());
  post_step();
}

bool Operation::poll() {
  if (done()) return true;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && advance();
}

void Operation::fail(const absl::Status& reason) {
  const std::lock_guard lock(mutex_);
  if (!done()) finish(annotate(reason, headline()));
}

absl::Status Operation::wait() {
  if (poll()) return status_;
  return in_span("wait", [this] {
    Patience patience;
    while (!poll()) patience.pause();
    return status_;
  });
}

bool Operation::advance() {
  while (!done()) {
    if (!exchange_) post_step();
    Step& step = plan_.steps[step_];
    if (!meanwhile_done_) {
      if (step.meanwhile.bytes > 0) std::memcpy(step.meanwhile.to, step.meanwhile.from, step.meanwhile.bytes);
      meanwhile_done_ = true;
    }
    const absl::StatusOr<bool> arrived = exchange_->test();
    if (!arrived.ok()) {
      finish(annotate(arrived.status(), headline()));
    } else if (*arrived) {
      if (step.then) reduce_in_order(*step.then);
      exchange_.reset();
      meanwhile_done_ = false;
      if (++step_ == plan_.steps.size()) finish(absl::OkStatus());
    } else if (std::chrono::steady_clock::now() >= deadline_) {
      finish(timed_out());
    } else {
      return false;
    }
  }
  return true;
}

void Operation::post_step() {
  const Step& step = plan_.steps[step_];
  exchange_ = transport_->start(step.sends, step.receives, tag_ + step.stage, plan_.promptness);
}

void Operation::finish(absl::Status status) {
  if (status.ok() && observer_) tell_observer();
  if (status.ok()) plan_ = {};
  status_ = std::move(status);
  finished_.store(true, std::memory_order_release);
}

void Operation::tell_observer() const {
  const auto nanoseconds = [](std::chrono::steady_clock::time_point time) -> int64_t {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  };
  const std::vector<int>& nodes = transport_->residence().nodes;
  const int own_node = nodes[transport_->rank()];
  const SentBytes sent = sent_bytes(plan_, [&](int rank) { return nodes[rank] == own_node; });
  const auto now = std::chrono::steady_clock::now();
  (*observer_)({label_, sent.node + label_.placed_bytes, sent.remote, nanoseconds(begin_), nanoseconds(now)});
}

absl::Status Operation::timed_out() const {
  std::string text = absl::StrCat(headline(), ": timed out after ", absl::FormatDuration(timeout_));
  if (const auto senders = exchange_->silent_senders(); !senders.empty()) {
    absl::StrAppend(&text, "; nothing came from ", ranks_text(senders));
  }
  if (const auto receivers = exchange_->silent_receivers(); !receivers.empty()) {
    absl::StrAppend(&text, "; not taken by ", ranks_text(receivers));
  }
  return error(ErrorCategory::kCommunication, text);
}

std::string Operation::headline() const {
  return switchyard::headline({transport_->rank(), transport_->size()}, label_);
}

std::string Operation::ranks_text(const std::vector<int>& ranks) const {
  const std::vector<std::string>& hosts = transport_->residence().hosts;
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ",
                      absl::StrJoin(ranks, ", ", [&](std::string* out, int rank) {
                        absl::StrAppend(out, rank, " (", hosts[rank], ")");
                      }));
}

}  // namespace switchyard
