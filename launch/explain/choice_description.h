// How the experts of a model's tokens are chosen in evaluation, in words.
#pragma once

#include <string>

#include "layers/moe/config.h"

namespace switchyard {

struct ChoiceDescription {
  std::string how;              // one sentence or two
  std::string score;            // what the choice compares, e.g. "probability"; empty: nothing
  bool experts_choose = false;  // each expert takes tokens, instead of each token experts
};

ChoiceDescription describe_choice(const MoeConfig& config);

}  // namespace switchyard
