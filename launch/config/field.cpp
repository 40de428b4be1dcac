#include "launch/config/field.h"

#include <algorithm>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "launch/config/text.h"

namespace switchyard {
namespace {

struct TypeName {
  std::string operator()(bool*) const { return "true or false"; }
  std::string operator()(int*) const { return "an integer"; }
  std::string operator()(int64_t*) const { return "an integer"; }
  std::string operator()(double*) const { return "a number"; }
  std::string operator()(std::string*) const { return "a string"; }
  std::string operator()(std::vector<double>*) const { return "a list of numbers"; }
  std::string operator()(std::vector<std::string>*) const { return "a list of strings"; }
};

std::vector<double> numbers_of(const FieldTarget& target) {
  if (const auto* value = std::get_if<int*>(&target)) return {static_cast<double>(**value)};
  if (const auto* value = std::get_if<int64_t*>(&target)) return {static_cast<double>(**value)};
  if (const auto* value = std::get_if<double*>(&target)) return {**value};
  if (const auto* value = std::get_if<std::vector<double>*>(&target)) return **value;
  return {};
}

std::vector<std::string> strings_of(const FieldTarget& target) {
  if (const auto* value = std::get_if<std::string*>(&target)) return {**value};
  if (const auto* value = std::get_if<std::vector<std::string>*>(&target)) return **value;
  return {};
}

}  // namespace

std::string Field::type_name() const {
  const std::string name = std::visit(TypeName{}, target);
  return zero_word_.empty() ? name : absl::StrCat(name, " or ", zero_word_);
}

std::string Field::rule() const {
  if (!choices_.empty()) return absl::StrCat("one of ", absl::StrJoin(choices_, ", "));
  std::vector<std::string> parts;
  if (above_) parts.push_back("above " + number_text(*above_));
  if (at_least_) parts.push_back("at least " + number_text(*at_least_));
  if (below_) parts.push_back("below " + number_text(*below_));
  if (at_most_) parts.push_back("at most " + number_text(*at_most_));
  return absl::StrJoin(parts, " and ");
}

bool Field::number_fits(double value) const {
  if (value == 0 && !zero_word_.empty()) return true;
  return (!at_least_ || value >= *at_least_) && (!at_most_ || value <= *at_most_) && (!above_ || value > *above_) &&
         (!below_ || value < *below_);
}

std::optional<std::string> Field::problem() const {
  const auto numbers = numbers_of(target);
  bool fits = std::all_of(numbers.begin(), numbers.end(), [this](double value) { return number_fits(value); });
  if (!choices_.empty()) {
    const auto strings = strings_of(target);
    fits = fits && std::all_of(strings.begin(), strings.end(), [this](const std::string& value) {
             return std::find(choices_.begin(), choices_.end(), value) != choices_.end();
           });
  }
  if (fits) return std::nullopt;
  return absl::StrCat("must be ", rule(), zero_word_.empty() ? "" : ", or " + zero_word_);
}

}  // namespace switchyard
