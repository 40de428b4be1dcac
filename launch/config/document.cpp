#include "launch/config/document.h"

#include <absl/strings/str_cat.h>
#include <yaml-cpp/yaml.h>

#include "launch/config/text.h"

namespace switchyard {
namespace {

std::string parent_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('.') + 1);
}

bool within(const std::string& path, const std::string& section) {
  return section.empty() || path == section || path.compare(0, section.size() + 1, section + ".") == 0;
}

void emit_value(YAML::Emitter& out, const Field& field) {
  if (const auto* text = std::get_if<std::string*>(&field.target)) {
    out << **text;
  } else if (const auto* texts = std::get_if<std::vector<std::string>*>(&field.target)) {
    out << YAML::Flow << **texts;
  } else if (const auto* numbers = std::get_if<std::vector<double>*>(&field.target)) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const double number : **numbers) out << number_text(number);
    out << YAML::EndSeq;
  } else {
    out << value_text(field);
  }
}

// Brings the open maps from those around `from` to those around `to`.
void move_to(YAML::Emitter& out, std::string& from, const std::string& to) {
  while (!within(to, from)) {
    out << YAML::EndMap;
    from = parent_of(from);
  }
  while (from != to) {
    const size_t start = from.empty() ? 0 : from.size() + 1;
    const size_t dot = to.find('.', start);
    out << YAML::Key << to.substr(start, dot - start) << YAML::Value << YAML::BeginMap;
    from = to.substr(0, dot);
  }
}

// A cell of a Markdown table must not hold a bar.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string dump_yaml(const Schema& schema) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  std::string section;
  for (const Field& field : schema.fields) {
    move_to(out, section, parent_of(field.path));
    out << YAML::Key << name_of(field.path) << YAML::Value;
    emit_value(out, field);
  }
  move_to(out, section, "");
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

std::map<std::string, std::string> flat_values(const Schema& schema) {
  std::map<std::string, std::string> values;
  for (const Field& field : schema.fields) values[field.path] = value_text(field);
  return values;
}

std::string reference_markdown(const Schema& schema) {
  std::string out;
  for (const Section& section : schema.sections) {
    if (section.path.empty() || section.path.find('.') != std::string::npos) continue;
    absl::StrAppend(&out, out.empty() ? "" : "\n", "**`", section.path, "`**: ", section.doc,
                    "\n\n| key | type | default | rule | meaning |\n|---|---|---|---|---|\n");
    for (const Field& field : schema.fields) {
      if (!within(field.path, section.path)) continue;
      const std::string rule = field.rule();
      absl::StrAppend(&out, "| `", field.path, "` | ", field.type_name(), " | `", cell(value_text(field)), "` | ",
                      rule.empty() ? "–" : cell(rule), " | ", cell(field.doc), " |\n");
    }
  }
  return out;
}

}  // namespace switchyard
