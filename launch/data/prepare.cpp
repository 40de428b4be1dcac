#include "launch/data/prepare.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include <absl/strings/str_cat.h>

#include "launch/data/corpus.h"
#include "launch/data/description.h"
#include "launch/data/document_tags.h"
#include "launch/data/indexed_writer.h"
#include "launch/data/ordered_workers.h"
#include "launch/data/tokenizer.h"
#include "launch/data/training_lines.h"
#include "launch/data/unigram.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

// Beyond this more text hardly changes the pieces, and the trainer's memory grows.
constexpr int64_t kTokenizerTextBytes = int64_t{16} << 20;

constexpr char kHeldOut[] = ".validation";

using RawDocuments = std::vector<RawDocument>;

struct Encoded {
  std::vector<int32_t> tokens;
  std::string tag;  // empty: none
  bool held_out = false;
};

struct EncodedDocuments {
  std::vector<Encoded> documents;
  int64_t text_bytes = 0;
};

absl::Status check_options(const PrepareOptions& options) {
  const auto usage = [](const char* message) { return error(ErrorCategory::kUsage, message); };
  if (options.inputs.empty()) return usage("nothing to prepare: give files or folders with --input");
  if (options.output.empty()) return usage("nowhere to write to: give a path without extension with --output");
  if (options.format != "text" && options.format != "jsonl") return usage("--format is text or jsonl");
  if (!options.tag_by.empty() && options.tag_by != "folder" && options.tag_by != "file") {
    return usage("--tag-by is folder or file");
  }
  if (!options.tag_by.empty() && options.format == "jsonl") {
    return usage("--tag-by is for text; JSON lines say their \"tag\" themselves");
  }
  if (options.max_length < 0) return usage("--max-length is at least 0");
  if (options.vocabulary_size < 1 || options.vocabulary_size > std::numeric_limits<int32_t>::max()) {
    return usage("--vocab-size is at least 1 and below 2^31");
  }
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    return usage("--validation-fraction is at least 0 and below 1");
  }
  return absl::OkStatus();
}

// By the path of a document's file; empty where `by` is.
std::string tag_of(const std::string& file, const std::string& by) {
  const std::filesystem::path path(file);
  if (by == "folder") return path.parent_path().filename().string();
  return by == "file" ? path.filename().string() : "";
}

// Uniform in [0, 1) by the text alone, so that equal documents end up on the same side.
bool held_out(std::string_view text, double fraction) {
  const uint64_t hash = checksum(text.data(), static_cast<int64_t>(text.size()));
  return static_cast<double>(hash >> 11) * 0x1p-53 < fraction;
}

class Preparation {
 public:
  Preparation(const PrepareOptions& options, std::vector<std::string> files)
      : options_(options),
        files_(std::move(files)),
        format_(options.format == "jsonl" ? TextFormat::kJsonLines : TextFormat::kText),
        threads_(options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency())) {}

  absl::StatusOr<PrepareReport> run();

 private:
  absl::StatusOr<Tokenizer> make_tokenizer();
  absl::Status open_outputs(int64_t vocabulary);
  absl::Status encode_all(const Tokenizer& tokenizer);
  absl::StatusOr<EncodedDocuments> encode(RawDocuments raw, const Tokenizer& tokenizer) const;
  absl::Status write(const EncodedDocuments& encoded);
  int32_t number_of(const std::string& tag);
  absl::Status check_sides() const;
  std::string description(const Tokenizer& tokenizer, const IndexedWriter& data,
                          std::optional<double> unigram_loss) const;
  void report_progress(const char* stage, const CorpusReader& reader) const;

  const PrepareOptions& options_;
  const std::vector<std::string> files_;
  const TextFormat format_;
  const int64_t threads_;
  std::optional<IndexedWriter> training_;
  std::optional<IndexedWriter> validation_;
  std::vector<int64_t> training_counts_;  // by token
  std::vector<int64_t> validation_counts_;
  std::map<std::string, int32_t> tag_numbers_;
  std::vector<std::string> tag_names_;
  std::vector<int32_t> training_tags_;  // by document of the set
  std::vector<int32_t> validation_tags_;
  int64_t documents_ = 0;
  int64_t text_bytes_ = 0;
};

absl::StatusOr<Tokenizer> Preparation::make_tokenizer() {
  if (!options_.tokenizer.empty()) return Tokenizer::load(options_.tokenizer);
  CorpusReader reader(files_, format_);
  LineSample sample(kTokenizerTextBytes);
  OrderedWorkers<RawDocuments, std::vector<std::string>> workers(
      [&] { return reader.next(); },
      [&](RawDocuments raw) -> absl::StatusOr<std::vector<std::string>> {
        std::vector<std::string> lines;
        for (RawDocument& document : raw) {
          SY_ASSIGN_OR_RETURN(const DocumentText read, document_text(std::move(document), format_));
          for (std::string& line : cut_lines(read.text)) lines.push_back(std::move(line));
        }
        return lines;
      },
      [&](std::vector<std::string> lines) {
        sample.add(std::move(lines));
        report_progress("reading text for the tokenizer", reader);
        return absl::OkStatus();
      });
  SY_RETURN_IF_ERROR(workers.run(threads_));
  report_progress("training the tokenizer", reader);
  const std::vector<std::string> lines = sample.take();
  if (lines.empty()) {
    return error(ErrorCategory::kBadData, absl::StrCat("there is no text in the ", files_.size(),
                                                       " files of the input; check --input and --format"));
  }
  return Tokenizer::train(lines, options_.vocabulary_size, options_.character_coverage);
}

absl::Status Preparation::open_outputs(int64_t vocabulary) {
  SY_ASSIGN_OR_RETURN(IndexedWriter training, IndexedWriter::create(options_.output, vocabulary));
  training_.emplace(std::move(training));
  training_counts_.assign(static_cast<size_t>(vocabulary), 0);
  validation_counts_ = training_counts_;
  if (options_.validation_fraction == 0) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(IndexedWriter validation, IndexedWriter::create(options_.output + kHeldOut, vocabulary));
  validation_.emplace(std::move(validation));
  return absl::OkStatus();
}

absl::StatusOr<EncodedDocuments> Preparation::encode(RawDocuments raw, const Tokenizer& tokenizer) const {
  EncodedDocuments result;
  for (RawDocument& document : raw) {
    const std::string file(document.file);
    SY_ASSIGN_OR_RETURN(DocumentText read, document_text(std::move(document), format_));
    const std::string& text = read.text;
    if (text.empty()) continue;
    if (!options_.tag_by.empty()) read.tag = tag_of(file, options_.tag_by);
    SY_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.encode(text));
    tokens.push_back(tokenizer.end_of_document());
    if (options_.max_length == 0 && tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      return error(ErrorCategory::kBadData, absl::StrCat(file, ": a document of ", tokens.size(),
                                                         " tokens is too long for the format; give --max-length"));
    }
    result.text_bytes += static_cast<int64_t>(text.size());
    result.documents.push_back({std::move(tokens), std::move(read.tag), held_out(text, options_.validation_fraction)});
  }
  return result;
}

absl::Status Preparation::write(const EncodedDocuments& encoded) {
  for (const Encoded& document : encoded.documents) {
    IndexedWriter& data = document.held_out ? *validation_ : *training_;
    std::vector<int64_t>& counts = document.held_out ? validation_counts_ : training_counts_;
    for (const int32_t token : document.tokens) ++counts[static_cast<size_t>(token)];
    std::vector<int32_t>& tags = document.held_out ? validation_tags_ : training_tags_;
    const int32_t tag = number_of(document.tag);
    std::span<const int32_t> rest(document.tokens);
    const size_t most = options_.max_length > 0 ? static_cast<size_t>(options_.max_length) : rest.size();
    for (; !rest.empty(); rest = rest.subspan(std::min(most, rest.size()))) {
      SY_RETURN_IF_ERROR(data.add_document(rest.first(std::min(most, rest.size()))));
      tags.push_back(tag);
    }
    ++documents_;
  }
  text_bytes_ += encoded.text_bytes;
  return absl::OkStatus();
}

// Tags are numbered in the order of their first documents.
int32_t Preparation::number_of(const std::string& tag) {
  if (tag.empty()) return -1;
  const auto [entry, is_new] = tag_numbers_.emplace(tag, static_cast<int32_t>(tag_names_.size()));
  if (is_new) tag_names_.push_back(tag);
  return entry->second;
}

absl::Status Preparation::encode_all(const Tokenizer& tokenizer) {
  CorpusReader reader(files_, format_);
  OrderedWorkers<RawDocuments, EncodedDocuments> workers(
      [&] { return reader.next(); }, [&](RawDocuments raw) { return encode(std::move(raw), tokenizer); },
      [&](const EncodedDocuments& encoded) -> absl::Status {
        SY_RETURN_IF_ERROR(write(encoded));
        report_progress("tokenising", reader);
        return absl::OkStatus();
      });
  return workers.run(threads_);
}

absl::Status Preparation::check_sides() const {
  if (documents_ == 0) {
    return error(ErrorCategory::kBadData, absl::StrCat("there are no documents in the ", files_.size(),
                                                       " files of the input; check --input and --format"));
  }
  const bool lacking = training_->documents() == 0 || (validation_ && validation_->documents() == 0);
  if (!lacking) return absl::OkStatus();
  return error(ErrorCategory::kBadData,
               absl::StrCat("of ", documents_, " documents none is left for ",
                            training_->documents() == 0 ? "training" : "validation",
                            "; change --validation-fraction, or cut the text into more files"));
}

std::string Preparation::description(const Tokenizer& tokenizer, const IndexedWriter& data,
                                     std::optional<double> unigram_loss) const {
  const std::string trained = std::filesystem::path(options_.output + ".model").filename().string();
  return to_json({.documents = data.documents(),
                  .tokens = data.tokens(),
                  .vocabulary_size = tokenizer.vocabulary_size(),
                  .tokenizer = options_.tokenizer.empty() ? trained : options_.tokenizer,
                  .tokenizer_hash = tokenizer.hash(),
                  .inputs = options_.inputs,
                  .format = options_.format,
                  .max_length = options_.max_length,
                  .validation_fraction = options_.validation_fraction,
                  .tag_by = options_.tag_by,
                  .tags = tag_names_,
                  .unigram_loss = unigram_loss});
}

void Preparation::report_progress(const char* stage, const CorpusReader& reader) const {
  if (!options_.progress) return;
  options_.progress({.stage = stage,
                     .bytes_read = reader.bytes_read(),
                     .bytes_total = reader.bytes_total(),
                     .documents = documents_,
                     .tokens = (training_ ? training_->tokens() : 0) + (validation_ ? validation_->tokens() : 0)});
}

absl::StatusOr<PrepareReport> Preparation::run() {
  // An output that can't be written shows before the long work.
  SY_ASSIGN_OR_RETURN(AtomicFile json, AtomicFile::create(options_.output + ".json"));

  SY_ASSIGN_OR_RETURN(const Tokenizer tokenizer, make_tokenizer());
  SY_RETURN_IF_ERROR(open_outputs(tokenizer.vocabulary_size()));
  SY_RETURN_IF_ERROR(encode_all(tokenizer));
  SY_RETURN_IF_ERROR(check_sides());

  PrepareReport report{.documents = training_->documents(),
                       .tokens = training_->tokens(),
                       .text_bytes = text_bytes_,
                       .vocabulary_size = tokenizer.vocabulary_size(),
                       .tokenizer = options_.tokenizer};
  if (options_.tokenizer.empty()) {
    report.tokenizer = options_.output + ".model";
    SY_RETURN_IF_ERROR(write_file_atomically(report.tokenizer, tokenizer.bytes()));
  }
  if (validation_) {
    report.validation_documents = validation_->documents();
    report.validation_tokens = validation_->tokens();
    report.unigram_loss = unigram_loss(training_counts_, validation_counts_);
    SY_RETURN_IF_ERROR(write_tags(options_.output + kHeldOut, validation_tags_));
    SY_RETURN_IF_ERROR(validation_->commit());
    SY_RETURN_IF_ERROR(write_file_atomically(options_.output + kHeldOut + ".json",
                                             description(tokenizer, *validation_, report.unigram_loss)));
  }
  SY_RETURN_IF_ERROR(write_tags(options_.output, training_tags_));
  SY_RETURN_IF_ERROR(training_->commit());
  const std::string text = description(tokenizer, *training_, std::nullopt);
  SY_RETURN_IF_ERROR(json.write(text.data(), static_cast<int64_t>(text.size())));
  SY_RETURN_IF_ERROR(json.commit());
  return report;
}

}  // namespace

absl::StatusOr<PrepareReport> prepare(const PrepareOptions& options) {
  SY_RETURN_IF_ERROR(check_options(options));
  SY_ASSIGN_OR_RETURN(std::vector<std::string> files, list_inputs(options.inputs));
  std::error_code code;  // where it can't be made, creating the first file says so
  std::filesystem::create_directories(std::filesystem::path(options.output).parent_path(), code);
  return Preparation(options, std::move(files)).run();
}

}  // namespace switchyard
