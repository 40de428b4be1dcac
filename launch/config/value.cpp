#include "launch/config/value.h"

#include <cmath>
#include <limits>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "launch/config/text.h"

namespace switchyard {
namespace {

// yaml-cpp tags a quoted scalar "!"; a quoted number is a string.
bool is_plain(const YAML::Node& node) {
  return node.IsScalar() && node.Tag() != "!";
}

std::string what_is(const YAML::Node& node) {
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  if (node.IsScalar()) return absl::StrCat(is_plain(node) ? "'" : "the string '", node.Scalar(), "'");
  return "nothing";
}

// Each returns whether `node` is of the target's type.
bool read(const YAML::Node& node, bool& out) {
  if (!is_plain(node) || (node.Scalar() != "true" && node.Scalar() != "false")) return false;
  out = node.Scalar() == "true";
  return true;
}

bool read(const YAML::Node& node, int64_t& out) {
  return is_plain(node) && absl::SimpleAtoi(node.Scalar(), &out);
}

bool read(const YAML::Node& node, int& out) {
  return is_plain(node) && absl::SimpleAtoi(node.Scalar(), &out);
}

bool read(const YAML::Node& node, double& out) {
  return is_plain(node) && absl::SimpleAtod(node.Scalar(), &out) && std::isfinite(out);
}

bool read(const YAML::Node& node, std::string& out) {
  if (!node.IsScalar()) return false;
  out = node.Scalar();
  return true;
}

template <typename T>
bool read(const YAML::Node& node, std::vector<T>& out) {
  if (!node.IsSequence()) return false;
  std::vector<T> values;
  for (const auto& element : node) {
    T value{};
    if (!read(element, value)) return false;
    values.push_back(std::move(value));
  }
  out = std::move(values);
  return true;
}

void set_zero(const FieldTarget& target) {
  if (auto* const* value = std::get_if<int*>(&target)) **value = 0;
  if (auto* const* value = std::get_if<int64_t*>(&target)) **value = 0;
  if (auto* const* value = std::get_if<double*>(&target)) **value = 0;
}

}  // namespace

std::optional<std::string> assign(const Field& field, const YAML::Node& node) {
  if (!field.zero_word().empty() && node.IsScalar() && node.Scalar() == field.zero_word()) {
    set_zero(field.target);
    return std::nullopt;
  }
  const bool right_type = std::visit([&node](auto* target) { return read(node, *target); }, field.target);
  if (!right_type) return absl::StrCat("expects ", field.type_name(), ", got ", what_is(node));
  if (const auto problem = field.problem()) return absl::StrCat("is ", value_text(field), "; it ", *problem);
  return std::nullopt;
}

}  // namespace switchyard
