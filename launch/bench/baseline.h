// An earlier result to compare with.
#pragma once

#include <functional>
#include <string>

#include <absl/status/status.h>
#include <nlohmann/json_fwd.hpp>

#include "launch/bench/place.h"

namespace switchyard {

// Gives `take`, which may throw what nlohmann::json does, the object that `switchyard bench COMMAND --json` printed to
// the file `path`. `asked`: what it must hold under the key COMMAND. kMissingInput, kBadData, and kUsage where it is of
// something else, or of another number of threads.
absl::Status read_baseline(const std::string& path, const std::string& command, const nlohmann::json& asked,
                           const BenchPlace& place, const std::function<void(const nlohmann::json&)>& take);

}  // namespace switchyard
