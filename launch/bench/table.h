// Pieces of the tables that benchmarks print.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "launch/bench/place.h"
#include "launch/bench/tier_bytes.h"

namespace switchyard {

// What the ratios are, at the end of a table that has some.
inline constexpr char kRatioNote[] = "x: times as fast as the baseline\n";

// "2 ranks x 1 threads" and, where it is not the CPU, ", cuda:0 NVIDIA H100 80GB HBM3, 79 GiB".
std::string place_text(const BenchPlace& place);

// "name   1.234 ms   note", with how many times as fast as `earlier` it is where there is such a time.
std::string time_row(const std::string& name, double ms, std::optional<double> earlier, const std::string& note = "");

// A row, indented, for each of `parts` of a time, with its share of all.
std::string split_rows(const std::map<std::string, double>& split_ms, const std::vector<std::string>& parts,
                       const std::optional<std::map<std::string, double>>& earlier);

// "3 B", "1.0 KiB", "2.50 GiB".
std::string bytes_text(int64_t bytes);
// "MiB a rank: 1.0 that stay, 2.0 within its host, 0.0 to other hosts".
std::string tiers_text(const TierBytes& bytes);
// A line on why rows go by messages within hosts too; none where there is no reason.
std::string by_messages_line(const std::string& by_messages);

// What every benchmark's JSON says alike.
nlohmann::json to_json(const TierBytes& bytes);
void add_place(const BenchPlace& place, nlohmann::json& json);

}  // namespace switchyard
