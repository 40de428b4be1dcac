#include "launch/config/yaml_text.h"

#include <sstream>

#include <yaml-cpp/eventhandler.h>

namespace switchyard {
namespace {

class IgnoreEvents : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// yaml-cpp takes a stray bracket or comma for the end of the document: Load then ignores the rest, and LoadAll never
// returns.
bool text_follows_the_first_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  IgnoreEvents ignore;
  return parser.HandleNextDocument(ignore) && parser.HandleNextDocument(ignore);
}

}  // namespace

YamlText parse_yaml(std::string_view text) {
  const std::string copy(text);
  YamlText result;
  try {
    if (text_follows_the_first_document(copy)) {
      result.problem = "not one YAML document: a stray bracket or comma ends it early, or another document follows";
    } else {
      result.root = YAML::Load(copy);
    }
  } catch (const YAML::Exception& exception) {
    result.problem = "not valid YAML: " + exception.msg;
    result.line = exception.mark.line + 1;
  }
  return result;
}

}  // namespace switchyard
