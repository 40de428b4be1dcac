// How a config struct describes itself. A struct owns its fields and visits them:
//   template <typename Visitor> void visit(Visitor& v) {
//     v("steps", steps, "training steps").at_least(1);
//     v.section("schedule", schedule, "the learning rate over time");
//   }
// Describing a struct (schema_of) lists its fields and sections in order, each with a pointer into that struct;
// reading, printing and documenting configs all work on that list, so structs need no include from here. An optional
// `absl::Status validate() const` checks what rules on single fields cannot.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>

namespace switchyard {

using FieldTarget =
    std::variant<bool*, int*, int64_t*, double*, std::string*, std::vector<double>*, std::vector<std::string>*>;

// One key, its place, its rules. For lists the rules hold for each element.
class Field {
 public:
  Field(std::string path, FieldTarget target, std::string doc)
      : path(std::move(path)), target(target), doc(std::move(doc)) {}

  Field& at_least(double bound) { return set(at_least_, bound); }
  Field& at_most(double bound) { return set(at_most_, bound); }
  Field& above(double bound) { return set(above_, bound); }
  Field& below(double bound) { return set(below_, bound); }
  Field& one_of(std::vector<std::string> choices) {
    choices_ = std::move(choices);
    return *this;
  }
  // Zero is written `word` and is exempt from the bounds.
  Field& zero_is(std::string word) {
    zero_word_ = std::move(word);
    return *this;
  }

  // What the field expects: "an integer", "a list of numbers".
  std::string type_name() const;
  // The rules in words ("at least 1", "one of a, b"); empty if there are none.
  std::string rule() const;
  const std::string& zero_word() const { return zero_word_; }
  // What is wrong with the value that the target holds now ("must be at least 1"), or nothing.
  std::optional<std::string> problem() const;

  std::string path;  // dotted, from the root: train.steps
  FieldTarget target;
  std::string doc;

 private:
  Field& set(std::optional<double>& slot, double bound) {
    slot = bound;
    return *this;
  }
  bool number_fits(double value) const;

  std::optional<double> at_least_, at_most_, above_, below_;
  std::vector<std::string> choices_;
  std::string zero_word_;
};

struct Section {
  std::string path;  // empty: the root
  std::string doc;
  std::function<absl::Status()> validate;  // may be empty
};

// Fields in the order of visiting; sections likewise, parents before children.
struct Schema {
  std::vector<Field> fields;
  std::vector<Section> sections;
};

class SchemaVisitor {
 public:
  explicit SchemaVisitor(Schema& schema) : schema_(schema) {}

  template <typename T>
  Field& operator()(const char* key, T& target, const char* doc) {
    return schema_.fields.emplace_back(prefix_ + key, FieldTarget(&target), doc);
  }

  template <typename Config>
  void section(const char* key, Config& config, const char* doc) {
    enter(prefix_ + key, config, doc);
  }

  // `path` empty: the root.
  template <typename Config>
  void enter(const std::string& path, Config& config, const char* doc) {
    Section section{path, doc, nullptr};
    if constexpr (requires { config.validate(); }) section.validate = [&config] { return config.validate(); };
    schema_.sections.push_back(std::move(section));
    const std::string outer = std::exchange(prefix_, path.empty() ? "" : path + ".");
    config.visit(*this);
    prefix_ = outer;
  }

 private:
  Schema& schema_;
  std::string prefix_;
};

// Borrows `config`, which must outlive the schema.
template <typename Config>
Schema schema_of(Config& config) {
  Schema schema;
  SchemaVisitor visitor(schema);
  visitor.enter("", config, "");
  return schema;
}

}  // namespace switchyard
