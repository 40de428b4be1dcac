#include "launch/trace/step_profile.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr char kNodeBytes[] = "node_bytes", kRemoteBytes[] = "remote_bytes";

// By span; a span that is not here belongs to the one around it.
const std::map<std::string, const char*, std::less<>> kPartOf = {
    {"experts", "experts"},     {"ExpertsFunction backward", "experts"},
    {"dispatch", "dispatch"},   {"DispatchRows backward", "dispatch"},
    {"combine", "dispatch"},    {"CombineRows backward", "dispatch"},
    {"forward", "dense"},       {"backward", "dense"},
    {"attention", "dense"},  // where layers are computed again within backward functions
    {"optimizer", "optimizer"}, {"wait", "wait"},
};

struct Open {
  const char* part;
  int64_t end_ns;
};

}  // namespace

std::map<std::string, double> split_step(std::span<const Span> spans, int64_t begin_ns, int64_t end_ns) {
  std::vector<Span> inner;
  for (const Span& span : spans) {
    if (span.lane == "compute" && begin_ns <= span.begin_ns && span.end_ns <= end_ns) inner.push_back(span);
  }
  std::stable_sort(inner.begin(), inner.end(), [](const Span& a, const Span& b) {
    return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns > b.end_ns;
  });
  std::map<std::string, double> split;
  for (const char* part : kStepParts) split[part] = 0;
  // Time goes to the innermost span that is open; `now`: up to which it has been given away.
  std::vector<Open> open = {{"other", end_ns}};
  int64_t now = begin_ns;
  const auto give_until = [&](int64_t time) {
    split[open.back().part] += static_cast<double>(time - now) / 1e9;
    now = time;
  };
  const auto close_until = [&](int64_t time) {
    while (open.size() > 1 && open.back().end_ns <= time) {
      give_until(open.back().end_ns);
      open.pop_back();
    }
    give_until(time);
  };
  for (const Span& span : inner) {
    close_until(span.begin_ns);
    const auto part = kPartOf.find(span.name);
    open.push_back({part == kPartOf.end() ? open.back().part : part->second, span.end_ns});
  }
  close_until(end_ns);
  return split;
}

WireObserver StepProfile::observer() {
  return [this](const FinishedOperation& done) {
    if (!recorder_.records_spans()) return;
    recorder_.scalar(kNodeBytes, static_cast<double>(done.node_bytes), Fold::kSum);
    recorder_.scalar(kRemoteBytes, static_cast<double>(done.remote_bytes), Fold::kSum);
  };
}

void StepProfile::begin_step() {
  recorder_.take_scalars();
  recorder_.record_spans(true);
  listener_.emplace(recorder_);
  begin_ns_ = Recorder::now();
}

absl::StatusOr<ProfiledStep> StepProfile::end_step(Communicator& world) {
  const int64_t end_ns = Recorder::now();
  listener_.reset();
  recorder_.record_spans(false);
  const std::map<std::string, double> mine = split_step(recorder_.take_spans(), begin_ns_, end_ns);
  const std::map<std::string, double> sent = recorder_.take_scalars();
  const auto bytes = [&](const char* tier) { return sent.contains(tier) ? sent.at(tier) : 0.0; };

  std::vector<double> figures;
  for (const char* part : kStepParts) figures.push_back(mine.at(part) / world.size());
  figures.insert(figures.end(), {bytes(kNodeBytes), bytes(kRemoteBytes)});
  const at::Tensor sums = at::tensor(figures, at::kDouble);
  SY_RETURN_IF_ERROR(world.all_reduce(sums, ReduceOp::kSum).wait());

  ProfiledStep step;
  const auto* sum = sums.const_data_ptr<double>();
  for (const char* part : kStepParts) step.seconds[part] = *sum++;
  step.node_bytes = std::llround(sum[0]);
  step.remote_bytes = std::llround(sum[1]);
  return step;
}

}  // namespace switchyard
