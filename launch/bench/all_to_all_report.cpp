#include "launch/bench/all_to_all_report.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/baseline.h"
#include "launch/bench/table.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

nlohmann::json asked(const AllToAllBenchOptions& options, const BenchPlace& place) {
  nlohmann::json json{{"ranks", place.ranks()}, {"width", options.width}, {"precision", options.precision}};
  if (const auto& routed = options.routed) {
    json["tokens"] = routed->tokens;
    json["experts"] = routed->experts;
    json["experts_per_token"] = routed->experts_per_token;
    json["skew"] = routed->skew;
  }
  if (options.by_dispatcher()) {
    json["dispatcher"] = options.routed->dispatcher;
    json["shared_memory"] = options.routed->shared_memory;
  }
  return json;
}

std::string header(const AllToAllBenchOptions& options, const BenchPlace& place) {
  std::string text =
      absl::StrFormat("%s; rows of %d numbers in %s, ", place_text(place), options.width, options.precision);
  if (const auto& routed = options.routed) {
    absl::StrAppendFormat(&text, "those of %d tokens a rank, whole and in chunks; %d of %d experts a token%s\n",
                          routed->tokens, routed->experts_per_token, routed->experts,
                          routed->skew > 0 ? absl::StrFormat(", Zipf %.2g", routed->skew) : "");
  } else {
    absl::StrAppend(&text, "as many to each other rank\n");
  }
  absl::StrAppendFormat(&text, "medians of %d repeats; ", options.repeats);
  if (options.by_dispatcher()) {
    absl::StrAppend(
        &text, options.routed->dispatcher,
        " plans, dispatches and combines rows as they came\n"
        "a rank: what the one with most sends, out and back; memcpy: a row for every expert of a token, both "
        "ways, rows that stay too, none of other hosts\n");
  } else {
    absl::StrAppend(&text,
                    "rows that stay on their rank take no part; a rank: what the one with most sends or receives\n");
  }
  return text;
}

std::string model_text(const AllToAllBenchOptions& options, const std::optional<AlphaBeta>& model,
                       const BenchPlace& place) {
  if (place.ranks() == 1) return "nothing travels on one rank: start more, with mpirun -n\n";
  if (!model) return "too few sizes travel for a model of their time\n";
  std::string text =
      absl::StrFormat("v bytes%s take %.1f us + v x %.4f ns", options.by_dispatcher() ? ", out and back," : "",
                      1e3 * model->alpha, 1e6 * model->beta);
  if (model->beta > 0) absl::StrAppendFormat(&text, " (%.2f GB/s)", 1e-6 / model->beta);
  absl::StrAppendFormat(&text,
                        ", by least squares of relative deviations on the medians; their root mean square is %.1f %%\n",
                        100 * model->residual);
  return text;
}

}  // namespace

std::string all_to_all_table(const AllToAllBenchOptions& options, const AllToAllBench& result, const BenchPlace& place,
                             const std::optional<AllToAllBench>& baseline) {
  std::string text = header(options, place);
  absl::StrAppendFormat(&text, "\n%11s %11s %11s %9s %11s %10s%s\n", options.routed ? "tokens" : "rows a peer",
                        "a rank", "ms", "GB/s", "memcpy, ms", "of memcpy", baseline ? "         x" : "");
  for (size_t i = 0; i < result.sizes.size(); ++i) {
    const AllToAllSize& size = result.sizes[i];
    const std::optional<double> percent = size.percent_of_floor();
    absl::StrAppendFormat(&text, "%11d %11s %11.4f %9.2f %11.4f %10s", size.rows, bytes_text(size.bytes), size.ms,
                          size.gb_per_second(), size.floor_ms,
                          percent ? absl::StrFormat("%.1f %%", *percent) : std::string("-"));
    if (baseline) absl::StrAppendFormat(&text, " %9.2f", baseline->sizes.at(i).ms / size.ms);
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "\n", model_text(options, result.model, place), tiers_text(result.sizes.back().tiers),
                  ", in the largest\npeak memory ", bytes_text(result.memory_bytes), " a rank\n");
  absl::StrAppend(&text, by_messages_line(result.by_messages));
  if (baseline) absl::StrAppend(&text, kRatioNote);
  return text;
}

std::string all_to_all_json(const AllToAllBenchOptions& options, const AllToAllBench& result, const BenchPlace& place) {
  nlohmann::json json{{"all-to-all", asked(options, place)},
                      {"sizes", nlohmann::json::array()},
                      {"model", nullptr},
                      {"memory_bytes", result.memory_bytes},
                      {"by_messages", result.by_messages}};
  for (const AllToAllSize& size : result.sizes) {
    nlohmann::json one{
        {options.routed ? "tokens" : "rows", size.rows}, {"max_bytes", size.bytes},   {"ms", size.ms},
        {"gb_per_second", size.gb_per_second()},         {"floor_ms", size.floor_ms}, {"bytes", to_json(size.tiers)}};
    if (const auto percent = size.percent_of_floor()) one["percent_of_floor"] = *percent;
    json["sizes"].push_back(std::move(one));
  }
  if (result.model) {
    json["model"] = {{"alpha_ms", result.model->alpha},
                     {"beta_ms_per_byte", result.model->beta},
                     {"residual", result.model->residual}};
  }
  add_place(place, json);
  return json.dump(2);
}

absl::StatusOr<AllToAllBench> read_all_to_all_baseline(const std::string& path, const AllToAllBenchOptions& options,
                                                       const BenchPlace& place) {
  AllToAllBench result;
  const auto take = [&result](const nlohmann::json& json) {
    for (const nlohmann::json& size : json.at("sizes")) result.sizes.push_back({.ms = size.at("ms")});
  };
  SY_RETURN_IF_ERROR(read_baseline(path, "all-to-all", asked(options, place), place, take));
  return result;
}

}  // namespace switchyard
