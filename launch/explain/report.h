// A trace as JSON, and as one self-contained HTML page that shows the JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/explain/choice_description.h"
#include "launch/explain/routing_trace.h"

namespace switchyard {

struct Explanation {
  std::string checkpoint;  // its folder
  int64_t step = 0;
  std::string source;  // what the tokens were read from
  std::string router;  // kind
  ChoiceDescription choice = {};
  std::vector<int64_t> ids = {};           // [T]
  std::vector<std::string> texts = {};     // [T] what each token stands for; may be empty or a part of a character
  std::vector<int64_t> piece_starts = {};  // tokens at which a document or a sequence begins
  std::vector<LayerTrace> layers = {};
};

// Keys: checkpoint, step, source, router, choice: {how, score (the unit of scores and margins; null: none),
// experts_choose}, ids, texts, piece_starts, and layers: a list of {name, layer, expert_count, offsets, experts, kept,
// weights, probabilities, scores, margins, entropy, similarity, load, dropped, load_cv, coactivation, top_tokens: a
// list an expert of {id, text, taken, seen}}; arrays as in LayerTrace and LayerSummary, null for NaN. Bytes that are no
// UTF-8 are shown as U+FFFD.
std::string explanation_json(const Explanation& explanation);

// `json`: of explanation_json.
std::string explanation_page(const std::string& json);

// A few lines a layer, for the terminal.
std::string explanation_table(const Explanation& explanation);

}  // namespace switchyard
