#include "launch/explain/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <nlohmann/json.hpp>

#include "launch/explain/expert_summary.h"
#include "launch/explain/page.h"

namespace switchyard {
namespace {

using Json = nlohmann::ordered_json;

std::map<int64_t, std::string> texts_by_id(const Explanation& explanation) {
  std::map<int64_t, std::string> texts;
  for (size_t t = 0; t < explanation.ids.size(); ++t) texts[explanation.ids[t]] = explanation.texts[t];
  return texts;
}

Json layer_json(const LayerTrace& trace, const LayerSummary& summary, const std::map<int64_t, std::string>& texts) {
  Json top_tokens = Json::array();
  for (const std::vector<TopToken>& tokens : summary.top_tokens) {
    Json list = Json::array();
    for (const TopToken& token : tokens) {
      list.push_back({{"id", token.id}, {"text", texts.at(token.id)}, {"taken", token.taken}, {"seen", token.seen}});
    }
    top_tokens.push_back(std::move(list));
  }
  return {{"name", absl::StrCat("layer ", trace.layer)},
          {"layer", trace.layer},
          {"expert_count", trace.experts},
          {"offsets", trace.offsets},
          {"experts", trace.chosen},
          {"kept", trace.kept},
          {"weights", trace.weights},
          {"probabilities", trace.probabilities},
          {"scores", trace.scores},
          {"margins", trace.margins},
          {"entropy", trace.entropy},
          {"similarity", trace.similarity},
          {"load", summary.load},
          {"dropped", summary.dropped},
          {"load_cv", summary.load_cv},
          {"coactivation", summary.coactivation},
          {"top_tokens", std::move(top_tokens)}};
}

// Line ends and quotes would break the table.
std::string quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\n", "\\n"}, {"\t", "\\t"}}), "'");
}

}  // namespace

std::string explanation_json(const Explanation& explanation) {
  const std::map<int64_t, std::string> texts = texts_by_id(explanation);
  const ChoiceDescription& choice = explanation.choice;
  Json layers = Json::array();
  for (const LayerTrace& trace : explanation.layers) {
    layers.push_back(layer_json(trace, summarise(trace, explanation.ids), texts));
  }
  const Json json = {{"checkpoint", explanation.checkpoint},
                     {"step", explanation.step},
                     {"source", explanation.source},
                     {"router", explanation.router},
                     {"choice",
                      {{"how", choice.how},
                       {"score", choice.score.empty() ? Json() : Json(choice.score)},
                       {"experts_choose", choice.experts_choose}}},
                     {"ids", explanation.ids},
                     {"texts", explanation.texts},
                     {"piece_starts", explanation.piece_starts},
                     {"layers", std::move(layers)}};
  // NaN becomes null.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string explanation_page(const std::string& json) {
  // Within a script element only "</" could end the data.
  return absl::StrReplaceAll(kExplanationPage, {{"@DATA@", absl::StrReplaceAll(json, {{"</", "<\\/"}})}});
}

std::string explanation_table(const Explanation& explanation) {
  const std::map<int64_t, std::string> texts = texts_by_id(explanation);
  std::string table = explanation.choice.how + "\n";
  for (const LayerTrace& trace : explanation.layers) {
    const LayerSummary summary = summarise(trace, explanation.ids);
    absl::StrAppendFormat(&table, "layer %d: %d experts, load variation %.2f", trace.layer, trace.experts,
                          summary.load_cv);
    if (!std::isnan(trace.entropy)) {
      absl::StrAppendFormat(&table, ", router entropy %.2f of %.2f nats", trace.entropy,
                            std::log(static_cast<double>(trace.experts)));
    }
    const auto dropped = std::count(trace.kept.begin(), trace.kept.end(), false);
    if (dropped > 0) absl::StrAppendFormat(&table, ", %d of %d slots dropped", dropped, trace.kept.size());
    absl::StrAppend(&table, "\n");
    for (size_t e = 0; e < summary.load.size(); ++e) {
      absl::StrAppend(&table, absl::StrFormat("  expert %3d  %5.1f %%  ", e, 100 * summary.load[e]));
      for (size_t i = 0; i < std::min<size_t>(6, summary.top_tokens[e].size()); ++i) {
        absl::StrAppend(&table, i == 0 ? "" : " ", quoted(texts.at(summary.top_tokens[e][i].id)));
      }
      absl::StrAppend(&table, "\n");
    }
  }
  return table;
}

}  // namespace switchyard
