#include "launch/trace/listener.h"

#include <memory>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

thread_local Recorder* listening = nullptr;

struct Begin : at::ObserverContext {
  int64_t ns = Recorder::now();
};

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
  return std::make_unique<Begin>();
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  if (listening == nullptr) return;
  const bool backward = function.scope() == at::RecordScope::BACKWARD_FUNCTION;
  std::string name = backward ? backward_name(function.name()) : function.name();
  listening->add({std::move(name), "compute", static_cast<Begin*>(context)->ns, Recorder::now()});
}

}  // namespace

Listener::Listener(Recorder& recorder) {
  SY_CHECK(listening == nullptr);
  listening = &recorder;
  handle_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(begin, end).scopes({at::RecordScope::USER_SCOPE, at::RecordScope::BACKWARD_FUNCTION}));
}

Listener::~Listener() {
  at::removeCallback(handle_);
  listening = nullptr;
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
