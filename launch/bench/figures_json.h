// What the results of a layer's and a step's benchmark have alike, as JSON and as a baseline that is read back.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "launch/bench/table.h"

namespace switchyard {

// Bench: LayerBench or StepBench.
template <typename Bench>
void add_figures(const Bench& result, const BenchPlace& place, nlohmann::json& json) {
  json.update({{"ms", result.ms},
               {"floor_ms", result.floor_ms},
               {"gflops", result.gflops},
               {"peak_gflops", result.peak_gflops},
               {"percent_of_peak", result.percent_of_peak()},
               {"percent_of_floor", result.percent_of_floor()},
               {"split_ms", result.split_ms},
               {"bytes", to_json(result.bytes)},
               {"memory_bytes", result.memory_bytes}});
  add_place(place, json);
}

// Of these, the times. Throws what nlohmann::json does.
template <typename Bench>
void take_times(const nlohmann::json& json, Bench& result) {
  result.ms = json.at("ms");
  result.floor_ms = json.at("floor_ms");
  result.split_ms = json.at("split_ms").template get<std::map<std::string, double>>();
}

}  // namespace switchyard
