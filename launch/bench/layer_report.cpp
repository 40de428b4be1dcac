#include "launch/bench/layer_report.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/baseline.h"
#include "launch/bench/figures_json.h"
#include "launch/bench/table.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

nlohmann::json asked(const LayerBenchOptions& options, const BenchPlace& place) {
  return {{"ranks", place.ranks()},
          {"tokens", options.tokens},
          {"width", options.width},
          {"expert_width", options.expert_width},
          {"experts", options.experts},
          {"experts_per_token", options.experts_per_token},
          {"dispatcher", options.dispatcher},
          {"chunks", options.chunks == 0 ? nlohmann::json("auto") : nlohmann::json(options.chunks)},
          {"shared_memory", options.shared_memory},
          {"activation", options.activation},
          {"router", options.router},
          {"precision", options.precision},
          {"expert_tensor", options.expert_tensor},
          {"skew", options.skew}};
}

// What dispatched, "deduplicated in 2 chunks".
std::string dispatch_text(const LayerBench& result) {
  return absl::StrFormat("%s in %d chunk%s", result.dispatcher, result.chunks, result.chunks == 1 ? "" : "s");
}

}  // namespace

std::string layer_table(const LayerBenchOptions& options, const LayerBench& result, const BenchPlace& place,
                        const std::optional<LayerBench>& baseline) {
  const bool settled = options.dispatcher == "auto" || options.chunks == 0;
  std::string text = absl::StrFormat(
      "%s, %s, %s%s; %d tokens a rank, width %d; %d experts of width %d (%s), %d a token by "
      "%s%s\n\n",
      place_text(place), options.precision, dispatch_text(result), settled ? ", as auto settled it" : "",
      options.tokens, options.width, options.experts, options.expert_width, options.activation,
      options.experts_per_token, options.router, options.skew > 0 ? absl::StrFormat(", Zipf %.2g", options.skew) : "");
  const auto before = [&](double LayerBench::*ms) { return baseline ? std::optional((*baseline).*ms) : std::nullopt; };
  absl::StrAppend(
      &text, time_row("forward", result.forward_ms, before(&LayerBench::forward_ms)),
      time_row("backward", result.backward_ms, before(&LayerBench::backward_ms)),
      time_row("both", result.ms, before(&LayerBench::ms),
               absl::StrFormat("%.1f %% of the peak (%.0f GFLOP/s), %.1f %% of the products' speed",
                               result.percent_of_peak(), result.peak_gflops, result.percent_of_floor())),
      split_rows(result.split_ms, layer_parts(), baseline ? std::optional(baseline->split_ms) : std::nullopt),
      time_row("products alone", result.floor_ms, before(&LayerBench::floor_ms)));
  absl::StrAppendFormat(&text, "\n%s\nload max/mean %.2f; peak memory %s a rank\n", tiers_text(result.bytes),
                        result.load_imbalance, bytes_text(result.memory_bytes));
  absl::StrAppend(&text, by_messages_line(result.by_messages));
  if (!baseline) return text;
  absl::StrAppend(&text, kRatioNote);
  if (dispatch_text(*baseline) != dispatch_text(result)) {
    absl::StrAppend(&text, "auto settled the baseline's on ", dispatch_text(*baseline), "\n");
  }
  return text;
}

std::string layer_json(const LayerBenchOptions& options, const LayerBench& result, const BenchPlace& place) {
  nlohmann::json json{{"layer", asked(options, place)},    {"dispatcher", result.dispatcher},
                      {"chunks", result.chunks},           {"forward_ms", result.forward_ms},
                      {"backward_ms", result.backward_ms}, {"load_imbalance", result.load_imbalance},
                      {"by_messages", result.by_messages}};
  add_figures(result, place, json);
  return json.dump(2);
}

absl::StatusOr<LayerBench> read_layer_baseline(const std::string& path, const LayerBenchOptions& options,
                                               const BenchPlace& place) {
  LayerBench result;
  const auto take = [&result](const nlohmann::json& json) {
    result.dispatcher = json.at("dispatcher");
    result.chunks = json.at("chunks");
    result.forward_ms = json.at("forward_ms");
    result.backward_ms = json.at("backward_ms");
    take_times(json, result);
  };
  SY_RETURN_IF_ERROR(read_baseline(path, "layer", asked(options, place), place, take));
  return result;
}

}  // namespace switchyard
