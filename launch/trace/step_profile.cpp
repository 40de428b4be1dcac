#include "launch/trace/step_profile.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "launch/trace/mixture_spans.h"
#include "launch/trace/span_walk.h"
#include "runtime/base/status.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

// Null: it belongs to the span around it.
const char* part_of(std::string_view span) {
  static const std::map<std::string_view, const char*> whole = {
      {"forward", "dense"},       {"backward", "dense"},
      {"attention", "dense"},  // where layers are computed again within backward functions
      {"optimizer", "optimizer"}, {"wait", "wait"},
  };
  const std::string_view part = mixture_part(span);
  if (part == "experts") return "experts";
  if (part == "permute" || part == "combine") return "dispatch";
  const auto found = whole.find(span);
  return found == whole.end() ? nullptr : found->second;
}

const char* innermost_part(std::span<const std::string_view> names) {
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (const char* part = part_of(*name)) return part;
  }
  return "other";
}

}  // namespace

std::map<std::string, double> split_step(std::span<const Span> spans, int64_t begin_ns, int64_t end_ns) {
  std::vector<const Span*> computing;
  for (const Span& span : spans) {
    if (span.lane == "compute") computing.push_back(&span);
  }
  std::map<std::string, int64_t> split_ns;
  int64_t left_ns = end_ns - begin_ns;
  walk_spans(std::move(computing), [&](std::span<const std::string_view> names, int64_t begin, int64_t end) {
    // A device's clock may be some microseconds off.
    const int64_t within = std::min(end, end_ns) - std::max(begin, begin_ns);
    if (within <= 0) return;
    split_ns[innermost_part(names)] += within;
    left_ns -= within;
  });
  split_ns["other"] += left_ns;
  std::map<std::string, double> split;
  for (const char* part : kStepParts) split[part] = static_cast<double>(split_ns[part]) / 1e9;
  return split;
}

WireObserver StepProfile::observer() {
  return record_bytes(recorder_);
}

void StepProfile::begin_step(c10::Device device) {
  recorder_.take_scalars();
  recorder_.record_spans(true);
  device_ = device;
  listener_.emplace(recorder_, make_stream_clock(device));
  begin_ns_ = Recorder::now();
}

absl::StatusOr<ProfiledStep> StepProfile::end_step(Communicator& world) {
  synchronise(device_);
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
