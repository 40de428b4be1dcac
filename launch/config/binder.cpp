#include "launch/config/binder.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <yaml-cpp/yaml.h>

#include "launch/config/text.h"
#include "launch/config/value.h"
#include "launch/config/yaml_text.h"

namespace switchyard {
namespace {

struct Problem {
  int line;  // from 1; overrides come after every line
  std::string text;
};

constexpr int kAfterFile = 1 << 30;

class Binder {
 public:
  Binder(const Schema& schema, const std::string& source) : schema_(schema), source_(source) {}

  void bind_map(const YAML::Node& map, const std::string& prefix);
  void bind_override(const std::string& path, const std::string& value);
  void validate_sections();
  absl::Status result();

 private:
  void bind_entry(const std::string& path, const YAML::Node& value, int line);
  const Field* find_field(const std::string& path) const;
  const Section* find_section(const std::string& path) const;
  std::string unknown(const std::string& path) const;
  void report(int line, const std::string& text) {
    problems_.push_back({line, absl::StrCat(source_, ":", line, ": ", text)});
  }

  const Schema& schema_;
  const std::string& source_;
  std::vector<Problem> problems_;
  std::map<std::string, int> section_lines_;
};

const Field* Binder::find_field(const std::string& path) const {
  const auto found = std::find_if(schema_.fields.begin(), schema_.fields.end(),
                                  [&path](const Field& field) { return field.path == path; });
  return found == schema_.fields.end() ? nullptr : &*found;
}

const Section* Binder::find_section(const std::string& path) const {
  const auto found = std::find_if(schema_.sections.begin(), schema_.sections.end(),
                                  [&path](const Section& section) { return section.path == path; });
  return found == schema_.sections.end() ? nullptr : &*found;
}

std::string Binder::unknown(const std::string& path) const {
  std::vector<std::string> candidates;
  for (const Field& field : schema_.fields) candidates.push_back(field.path);
  for (const Section& section : schema_.sections) {
    if (!section.path.empty()) candidates.push_back(section.path);
  }
  const std::string nearest = nearest_key(path, candidates);
  if (!nearest.empty()) return absl::StrCat("unknown key '", path, "'; did you mean '", nearest, "'?");

  // Nothing is near: list what the innermost known section takes.
  std::string parent = path;
  do {
    const size_t dot = parent.rfind('.');
    parent = dot == std::string::npos ? "" : parent.substr(0, dot);
  } while (!find_section(parent));
  const std::string prefix = parent.empty() ? "" : parent + ".";
  std::vector<std::string> known;
  for (const std::string& candidate : candidates) {
    if (candidate.compare(0, prefix.size(), prefix) != 0) continue;
    const std::string rest = candidate.substr(prefix.size());
    if (rest.find('.') == std::string::npos) known.push_back(rest);
  }
  return absl::StrCat("unknown key '", path, "'; ", parent.empty() ? "a config" : "'" + parent + "'", " takes ",
                      absl::StrJoin(known, ", "));
}

void Binder::bind_map(const YAML::Node& map, const std::string& prefix) {
  std::map<std::string, int> first_lines;
  for (const auto& entry : map) {
    const int line = entry.first.Mark().line + 1;
    if (!entry.first.IsScalar()) {
      report(line, "a key must be a plain word");
      continue;
    }
    const std::string path = prefix + entry.first.Scalar();
    const auto [first, is_new] = first_lines.emplace(path, line);
    if (is_new) {
      bind_entry(path, entry.second, line);
    } else {
      report(line, absl::StrCat("'", path, "' is given twice, first on line ", first->second));
    }
  }
}

void Binder::bind_entry(const std::string& path, const YAML::Node& value, int line) {
  if (const Field* field = find_field(path)) {
    if (const auto problem = assign(*field, value)) report(line, absl::StrCat(path, " ", *problem));
  } else if (find_section(path)) {
    section_lines_[path] = line;
    if (value.IsMap()) {
      bind_map(value, path + ".");
    } else if (!value.IsNull()) {
      report(line, absl::StrCat("'", path, "' is a section: its keys go below it, indented"));
    }
  } else {
    report(line, unknown(path));
  }
}

void Binder::bind_override(const std::string& path, const std::string& value) {
  const auto complain = [&](const std::string& text) {
    problems_.push_back({kAfterFile, absl::StrCat("override ", path, "=", value, ": ", text)});
  };
  const Field* field = find_field(path);
  if (!field) {
    return complain(find_section(path) ? absl::StrCat("'", path, "' is a section; override its keys one by one")
                                       : unknown(path));
  }
  // A string is taken as it is, so that paths with YAML's special characters need no second quoting.
  const bool is_string = std::holds_alternative<std::string*>(field->target);
  const YamlText text = is_string ? YamlText{YAML::Node(value), ""} : parse_yaml(value);
  if (!text.problem.empty()) {
    complain(absl::StrCat(path, " expects ", field->type_name(), ", got ", text.problem));
  } else if (const auto problem = assign(*field, text.root)) {
    complain(absl::StrCat(path, " ", *problem));
  }
}

void Binder::validate_sections() {
  if (!problems_.empty()) return;  // sections may rely on their fields' rules
  for (const Section& section : schema_.sections) {
    const absl::Status status = section.validate ? section.validate() : absl::OkStatus();
    if (status.ok()) continue;
    const auto line = section_lines_.find(section.path);
    const std::string where = line == section_lines_.end() ? source_ : absl::StrCat(source_, ":", line->second);
    problems_.push_back({line == section_lines_.end() ? 0 : line->second,
                         absl::StrCat(where, ": ", section.path, section.path.empty() ? "" : ": ", status.message())});
  }
}

absl::Status Binder::result() {
  if (problems_.empty()) return absl::OkStatus();
  std::stable_sort(problems_.begin(), problems_.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  std::string message = problems_.front().text;
  const size_t more = problems_.size() - 1;
  if (more > 0) absl::StrAppend(&message, " (and ", more, more == 1 ? " more problem)" : " more problems)");
  for (size_t i = 1; i <= more; ++i) absl::StrAppend(&message, "\n", problems_[i].text);
  return error(ErrorCategory::kBadConfig, message);
}

}  // namespace

absl::Status bind_text(const Schema& schema, std::string_view text, const std::string& source,
                       std::span<const std::string> overrides) {
  for (const std::string& word : overrides) {
    if (word.find('=') == std::string::npos) {
      return error(ErrorCategory::kUsage, absl::StrCat("'", word, "' is not an override: write section.key=value"));
    }
  }
  const YamlText yaml = parse_yaml(text);
  const auto refuse = [&source](int line, const std::string& problem) {
    return error(ErrorCategory::kBadConfig, absl::StrCat(source, ":", line, ": ", problem));
  };
  if (!yaml.problem.empty()) return refuse(yaml.line, yaml.problem);
  if (!yaml.root.IsMap() && !yaml.root.IsNull()) {
    return refuse(yaml.root.Mark().line + 1, "not a config: sections with keys are expected");
  }
  Binder binder(schema, source);
  if (yaml.root.IsMap()) binder.bind_map(yaml.root, "");
  for (const std::string& word : overrides) {
    const size_t equals = word.find('=');
    binder.bind_override(word.substr(0, equals), word.substr(equals + 1));
  }
  binder.validate_sections();
  return binder.result();
}

absl::Status bind_file(const Schema& schema, const std::string& path, std::span<const std::string> overrides) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // An empty file gives no characters, which is no failure; a directory opens but does not read.
  if (!file || (file.peek() != std::ifstream::traits_type::eof() && !(text << file.rdbuf())) || file.bad()) {
    return error(ErrorCategory::kMissingInput, absl::StrCat("config ", path, " cannot be read: check the path"));
  }
  return bind_text(schema, text.str(), path, overrides);
}

}  // namespace switchyard
