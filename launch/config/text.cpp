#include "launch/config/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

namespace switchyard {
namespace {

std::string_view last_name(std::string_view path) {
  return path.substr(path.rfind('.') + 1);
}

// No edit distance is below it, and it costs nothing: names of any length arrive here.
int length_difference(std::string_view a, std::string_view b) {
  return std::abs(static_cast<int>(a.size()) - static_cast<int>(b.size()));
}

struct ValueText {
  const Field& field;

  std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const int* value) const { return integer(*value); }
  std::string operator()(const int64_t* value) const { return integer(*value); }
  std::string operator()(const double* value) const {
    return *value == 0 && !field.zero_word().empty() ? field.zero_word() : number_text(*value);
  }
  std::string operator()(const std::string* value) const { return value->empty() ? "\"\"" : *value; }
  std::string operator()(const std::vector<double>* values) const {
    return absl::StrCat(
        "[", absl::StrJoin(*values, ", ", [](std::string* out, double value) { out->append(number_text(value)); }),
        "]");
  }
  std::string operator()(const std::vector<std::string>* values) const {
    return absl::StrCat("[", absl::StrJoin(*values, ", "), "]");
  }
  std::string integer(int64_t value) const {
    return value == 0 && !field.zero_word().empty() ? field.zero_word() : absl::StrCat(value);
  }
};

}  // namespace

std::string number_text(double value) {
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-5 && size < 1e15);
  char buffer[64];
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  // YAML 1.1 readers take 1e-08 for a string, 1.0e-08 for a number.
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) text.insert(exponent, ".0");
  return text;
}

std::string value_text(const Field& field) {
  return std::visit(ValueText{field}, field.target);
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    now[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

std::string nearest_key(std::string_view path, const std::vector<std::string>& candidates) {
  const std::string_view name = last_name(path);
  const int tolerance = std::max(1, static_cast<int>(name.size()) / 3);
  std::string best;
  int best_distance = tolerance + 1;
  for (const std::string& candidate : candidates) {
    const auto consider = [&](std::string_view written, std::string_view known, int other_mistakes) {
      if (length_difference(written, known) + other_mistakes >= best_distance) return;
      const int distance = edit_distance(written, known) + other_mistakes;
      if (distance >= best_distance) return;
      best = candidate;
      best_distance = distance;
    };
    consider(path, candidate, 0);
    consider(name, last_name(candidate), 1);  // the wrong section is one mistake, however far its name
  }
  return best;
}

}  // namespace switchyard
