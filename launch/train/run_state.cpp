#include "launch/train/run_state.h"

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace switchyard {

std::string describe(const RunLayout& layout) {
  return absl::StrCat(layout.ranks, layout.ranks == 1 ? " rank of " : " ranks of ", layout.threads,
                      layout.threads == 1 ? " thread" : " threads", " (data ", layout.data, ", tensor ", layout.tensor,
                      ", expert ", layout.expert, ", expert_tensor ", layout.expert_tensor, ", ", layout.dispatcher,
                      ")");
}

std::string to_json(const RunState& state) {
  nlohmann::ordered_json json = {{"step", state.step},
                                 {"updates", state.updates},
                                 {"tokens", state.tokens},
                                 {"skipped_in_row", state.skipped_in_row},
                                 {"vocabulary", state.vocabulary},
                                 {"data", state.data},
                                 {"config", state.config}};
  if (state.layout) {
    json["layout"] = {{"ranks", state.layout->ranks},
                      {"threads", state.layout->threads},
                      {"data", state.layout->data},
                      {"tensor", state.layout->tensor},
                      {"expert", state.layout->expert},
                      {"expert_tensor", state.layout->expert_tensor},
                      {"dispatcher", state.layout->dispatcher}};
  }
  return json.dump();
}

absl::StatusOr<RunState> parse_run_state(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    RunState state{.step = json.at("step"),
                   .updates = json.at("updates"),
                   .tokens = json.at("tokens"),
                   .skipped_in_row = json.at("skipped_in_row"),
                   .config = json.at("config"),
                   .vocabulary = json.at("vocabulary"),
                   .data = json.at("data")};
    if (const auto layout = json.find("layout"); layout != json.end()) {
      state.layout = RunLayout{.ranks = layout->at("ranks"),
                               .threads = layout->at("threads"),
                               .data = layout->at("data"),
                               .tensor = layout->at("tensor"),
                               .expert = layout->at("expert"),
                               .expert_tensor = layout->at("expert_tensor"),
                               .dispatcher = layout->value("dispatcher", "all_to_all")};
    }
    return state;
  } catch (const nlohmann::json::exception& e) {
    return error(ErrorCategory::kBadData, absl::StrCat("the checkpoint's run state cannot be read: ", e.what()));
  }
}

}  // namespace switchyard
