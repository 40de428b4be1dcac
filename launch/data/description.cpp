#include "launch/data/description.h"

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "launch/data/mapped_file.h"

namespace switchyard {

std::string to_json(const DataDescription& description) {
  nlohmann::ordered_json json = {
      {"documents", description.documents},
      {"tokens", description.tokens},
      {"vocabulary_size", description.vocabulary_size},
      {"tokenizer", {{"file", description.tokenizer}, {"hash", description.tokenizer_hash}}},
      {"settings",
       {{"input", description.inputs},
        {"format", description.format},
        {"max_length", description.max_length},
        {"validation_fraction", description.validation_fraction}}},
  };
  if (!description.tag_by.empty()) json["settings"]["tag_by"] = description.tag_by;
  if (!description.tags.empty()) json["tags"] = description.tags;
  if (description.unigram_loss) json["unigram_loss"] = *description.unigram_loss;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::optional<DataDescription>> read_description(const std::string& prefix) {
  const std::string path = prefix + ".json";
  const absl::StatusOr<MappedFile> file = MappedFile::open(path);
  if (!file.ok()) {
    if (error_category(file.status()) == ErrorCategory::kMissingInput) return std::optional<DataDescription>();
    return file.status();
  }
  try {
    const auto json = nlohmann::json::parse(file->bytes());
    const auto& settings = json.at("settings");
    DataDescription description;
    json.at("documents").get_to(description.documents);
    json.at("tokens").get_to(description.tokens);
    json.at("vocabulary_size").get_to(description.vocabulary_size);
    json.at("tokenizer").at("file").get_to(description.tokenizer);
    json.at("tokenizer").at("hash").get_to(description.tokenizer_hash);
    settings.at("input").get_to(description.inputs);
    settings.at("format").get_to(description.format);
    settings.at("max_length").get_to(description.max_length);
    settings.at("validation_fraction").get_to(description.validation_fraction);
    if (settings.contains("tag_by")) settings.at("tag_by").get_to(description.tag_by);
    if (json.contains("tags")) json.at("tags").get_to(description.tags);
    if (json.contains("unigram_loss")) description.unigram_loss = json.at("unigram_loss").get<double>();
    return std::optional(std::move(description));
  } catch (const nlohmann::json::exception& failure) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(path, " is damaged; prepare the data again (", failure.what(), ")"));
  }
}

absl::Status check_tokenizer(const std::string& prefix, const std::string& tokenizer_hash) {
  SY_ASSIGN_OR_RETURN(const std::optional<DataDescription> description, read_description(prefix));
  if (!description || description->tokenizer_hash == tokenizer_hash) return absl::OkStatus();
  return error(ErrorCategory::kBadData,
               absl::StrCat(prefix, " was prepared with another tokenizer: ", description->tokenizer, " (",
                            description->tokenizer_hash, ", ", description->vocabulary_size,
                            " pieces) where data.tokenizer has ", tokenizer_hash,
                            "; set data.tokenizer to that one or prepare the data again"));
}

}  // namespace switchyard
