#include "launch/bench/step_report.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/baseline.h"
#include "launch/bench/figures_json.h"
#include "launch/bench/step_split.h"
#include "launch/bench/table.h"
#include "launch/config/document.h"
#include "launch/data/data_config.h"
#include "launch/train/estimate.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

nlohmann::json asked(const StepBenchOptions& options, const BenchPlace& place) {
  nlohmann::json json{{"ranks", place.ranks()}, {"vocabulary", options.vocabulary}};
  RunConfig config = options.config;
  for (const auto& [path, value] : flat_values(schema_of(config))) {
    const bool same_work = path.starts_with("model.") || path == "data.sequence" || path == "train.global_batch" ||
                           path == "train.precision";
    if (same_work && path != "model.vocabulary") json[path] = value;
  }
  return json;
}

std::string tokens_text(const RunConfig& config) {
  return config.data.train == kRandomTokens ? "random tokens" : config.data.train;
}

nlohmann::json layout_json(const MeshShape& shape) {
  return {{"data", shape.data},
          {"tensor", shape.tensor},
          {"expert_data", shape.expert_data},
          {"expert", shape.expert},
          {"expert_tensor", shape.expert_tensor},
          {"dispatcher", describe_dispatch(shape.dispatcher, shape.dispatch_chunks)}};
}

// Those that took any time.
std::vector<std::string> shown_parts(const StepBench& result) {
  std::vector<std::string> parts = step_parts();
  std::erase_if(parts, [&](const std::string& part) { return result.split_ms.at(part) == 0; });
  return parts;
}

}  // namespace

std::string step_table(const StepBenchOptions& options, const StepBench& result, const BenchPlace& place,
                       const std::optional<StepBench>& baseline) {
  const TrainConfig& train = options.config.train;
  std::string text = absl::StrFormat(
      "%s, %s; %s\n%d sequences of %d tokens a step, in %d parts, of %s; medians of %d steps after "
      "%d\n\n",
      place_text(place), train.precision, describe_layout(result.shape), train.global_batch,
      options.config.data.sequence, train.accumulation, tokens_text(options.config), options.repeats, kWarmUpSteps);
  const auto before = [&](double StepBench::*ms) {
    return baseline && (*baseline).*ms > 0 ? std::optional((*baseline).*ms) : std::nullopt;
  };
  absl::StrAppend(
      &text,
      time_row("step", result.ms, before(&StepBench::ms),
               absl::StrFormat("%.0f tokens/s, MFU %.1f %% of %.0f GFLOP/s a rank, %.1f %% of the products' speed",
                               result.tokens_per_second(), result.percent_of_peak(), result.peak_gflops,
                               result.percent_of_floor())),
      time_row("forward", result.forward_ms, before(&StepBench::forward_ms)),
      time_row("backward", result.backward_ms, before(&StepBench::backward_ms)),
      split_rows(result.split_ms, shown_parts(result), baseline ? std::optional(baseline->split_ms) : std::nullopt),
      time_row("products alone", result.floor_ms, before(&StepBench::floor_ms)));
  absl::StrAppendFormat(&text, "\n%s\npeak memory %s a rank\n", tiers_text(result.bytes),
                        bytes_text(result.memory_bytes));
  absl::StrAppend(&text, by_messages_line(result.by_messages));
  if (baseline) absl::StrAppend(&text, kRatioNote);
  return text;
}

std::string step_json(const StepBenchOptions& options, const StepBench& result, const BenchPlace& place) {
  nlohmann::json json{{"step", asked(options, place)},       {"layout", layout_json(result.shape)},
                      {"data", tokens_text(options.config)}, {"tokens_per_second", result.tokens_per_second()},
                      {"forward_ms", result.forward_ms},     {"backward_ms", result.backward_ms},
                      {"by_messages", result.by_messages}};
  add_figures(result, place, json);
  return json.dump(2);
}

absl::StatusOr<StepBench> read_step_baseline(const std::string& path, const StepBenchOptions& options,
                                             const BenchPlace& place) {
  StepBench result;
  const auto take = [&result](const nlohmann::json& json) {
    result.forward_ms = json.value("forward_ms", 0.0);  // which older ones lack
    result.backward_ms = json.value("backward_ms", 0.0);
    take_times(json, result);
  };
  SY_RETURN_IF_ERROR(read_baseline(path, "step", asked(options, place), place, take));
  return result;
}

}  // namespace switchyard
