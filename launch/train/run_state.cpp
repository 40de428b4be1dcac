#include "launch/train/run_state.h"

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace switchyard {

std::string to_json(const RunState& state) {
  return nlohmann::ordered_json{{"step", state.step},
                                {"updates", state.updates},
                                {"tokens", state.tokens},
                                {"skipped_in_row", state.skipped_in_row},
                                {"vocabulary", state.vocabulary},
                                {"data", state.data},
                                {"config", state.config}}
      .dump();
}

absl::StatusOr<RunState> parse_run_state(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    return RunState{.step = json.at("step"),
                    .updates = json.at("updates"),
                    .tokens = json.at("tokens"),
                    .skipped_in_row = json.at("skipped_in_row"),
                    .config = json.at("config"),
                    .vocabulary = json.at("vocabulary"),
                    .data = json.at("data")};
  } catch (const nlohmann::json::exception& e) {
    return error(ErrorCategory::kBadData, absl::StrCat("the checkpoint's run state cannot be read: ", e.what()));
  }
}

}  // namespace switchyard
