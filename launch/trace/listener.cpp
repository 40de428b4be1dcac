#include "launch/trace/listener.h"

#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// Of the kinds that there are for whoever wants autograd to take something to its threads; nothing else here does.
constexpr auto kDebugInfo = c10::DebugInfoKind::PRODUCER_INFO;

struct Begin : at::ObserverContext {
  explicit Begin(int64_t moment) : moment(moment) {}
  const int64_t moment;
};

}  // namespace

// Shared with threads of autograd, which may still hold it when the listener is gone.
class Listener::Ear : public c10::DebugInfoBase {
 public:
  Ear(Recorder& recorder, std::unique_ptr<StreamClock> clock) : clock_(std::move(clock)), recorder_(&recorder) {
    SY_CHECK(present() == nullptr);
  }

  static at::RecordFunctionCallback callback() {
    return at::RecordFunctionCallback(begin, end)
        .scopes({at::RecordScope::USER_SCOPE, at::RecordScope::BACKWARD_FUNCTION});
  }

  // Records what waits for the device's times; what ends later is not heard.
  void close() {
    const std::lock_guard lock(mutex_);
    Recorder& recorder = *std::exchange(recorder_, nullptr);
    if (marked_.empty()) return;
    const std::vector<int64_t> times = clock_->read();
    for (Span& span : marked_) {
      span.begin_ns = times[span.begin_ns];
      span.end_ns = times[span.end_ns];
      recorder.add(std::move(span));
    }
  }

 private:
  static Ear* present() { return static_cast<Ear*>(c10::ThreadLocalDebugInfo::get(kDebugInfo)); }

  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
    return std::make_unique<Begin>(present()->moment());
  }
  // Without a context where begin() has failed.
  static void end(const at::RecordFunction& function, at::ObserverContext* context) {
    Ear* const ear = present();
    if (ear == nullptr || context == nullptr) return;
    const bool backward = function.scope() == at::RecordScope::BACKWARD_FUNCTION;
    std::string name = backward ? backward_name(function.name()) : function.name();
    ear->add({std::move(name), "compute", static_cast<Begin*>(context)->moment, ear->moment()});
  }

  // Nanoseconds, or the number of a mark.
  int64_t moment() const { return clock_ ? clock_->mark() : Recorder::now(); }
  void add(Span span) {
    const std::lock_guard lock(mutex_);
    if (recorder_ == nullptr) return;
    if (clock_) {
      marked_.push_back(std::move(span));
    } else {
      recorder_->add(std::move(span));
    }
  }

  const std::unique_ptr<StreamClock> clock_;
  std::mutex mutex_;
  Recorder* recorder_;        // null: closed
  std::vector<Span> marked_;  // with numbers of marks for times
};

Listener::Listener(Recorder& recorder, std::unique_ptr<StreamClock> clock)
    : ear_(std::make_shared<Ear>(recorder, std::move(clock))),
      known_(kDebugInfo, ear_),
      handle_(at::addThreadLocalCallback(Ear::callback())) {}

Listener::~Listener() {
  at::removeCallback(handle_);
  try {
    ear_->close();
  } catch (const std::exception&) {
    // Of a device that has failed, which its next use will say.
  }
}

WireObserver record_wires(Recorder& recorder) {
  return [&recorder](const FinishedOperation& done) {
    if (!recorder.records_spans()) return;
    recorder.add({absl::StrCat(done.label.operation, " ", done.label.group), "wire", done.begin_ns, done.end_ns,
                  done.node_bytes + done.remote_bytes});
  };
}

WireObserver record_bytes(Recorder& recorder, std::string groups) {
  return [&recorder, groups = std::move(groups)](const FinishedOperation& done) {
    if (!recorder.records_spans() || !done.label.group.ends_with(groups)) return;
    recorder.scalar(kNodeBytes, static_cast<double>(done.node_bytes), Fold::kSum);
    recorder.scalar(kRemoteBytes, static_cast<double>(done.remote_bytes), Fold::kSum);
  };
}

std::string backward_name(std::string_view node) {
  constexpr std::string_view kOurs = "CppNode<";
  if (const size_t ours = node.find(kOurs); ours != std::string_view::npos) node.remove_prefix(ours + kOurs.size());
  node = node.substr(0, node.find_first_of("<>"));
  if (const size_t colons = node.rfind("::"); colons != std::string_view::npos) node.remove_prefix(colons + 2);
  while (!node.empty() && absl::ascii_isdigit(static_cast<unsigned char>(node.back()))) node.remove_suffix(1);
  constexpr std::string_view kTheirs = "Backward";
  if (node.ends_with(kTheirs)) node.remove_suffix(kTheirs.size());
  return node == "AccumulateGrad" ? std::string(node) : std::string(node) + " backward";
}

}  // namespace switchyard
