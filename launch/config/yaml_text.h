// YAML text to one document.
#pragma once

#include <string>
#include <string_view>

#include <yaml-cpp/yaml.h>

namespace switchyard {

struct YamlText {
  YAML::Node root;      // null where the text is empty
  std::string problem;  // what is wrong with the text; empty: nothing
  int line = 1;         // of the problem
};

// Exactly one document, read to the text's end.
YamlText parse_yaml(std::string_view text);

}  // namespace switchyard
