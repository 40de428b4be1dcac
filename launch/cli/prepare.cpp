#include "launch/data/prepare.h"

#include <cstdio>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <absl/strings/str_format.h>

#include "launch/cli/command.h"
#include "launch/train/console.h"

namespace switchyard {
namespace {

constexpr char kAbout[] =
    "Turns text into a tokenised data set: PREFIX.bin and PREFIX.idx (Megatron's format), and PREFIX.model where it "
    "trains the tokenizer. Run again on the same input, it writes the same bytes.";

constexpr char kExamples[] = R"(Examples:
  switchyard prepare --input texts/ --output data/text --vocab-size 8192 --validation-fraction 0.02
  switchyard prepare --input a.jsonl b.jsonl --format jsonl --tokenizer data/text.model --output data/more)";

void show(const PrepareProgress& progress) {
  constexpr double kMiB = 1024.0 * 1024.0;
  const std::string line =
      absl::StrFormat("\r\x1b[K%s: %.0f of %.0f MiB, %d documents, %d tokens", progress.stage,
                      static_cast<double>(progress.bytes_read) / kMiB, static_cast<double>(progress.bytes_total) / kMiB,
                      progress.documents, progress.tokens);
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

absl::Status run(PrepareOptions options) {
  const bool terminal = output_is_terminal();
  if (terminal) options.progress = show;
  const absl::StatusOr<PrepareReport> report = prepare(options);
  if (terminal) std::fputs("\r\x1b[K", stdout);
  SY_RETURN_IF_ERROR(report.status());
  absl::PrintF("documents=%d tokens=%d validation_documents=%d validation_tokens=%d vocabulary=%d\n", report->documents,
               report->tokens, report->validation_documents, report->validation_tokens, report->vocabulary_size);
  absl::PrintF("data.tokenizer: %s\ndata.train: %s\n", report->tokenizer, options.output);
  if (report->unigram_loss) {
    absl::PrintF("data.validation: %s.validation\n", options.output);
    absl::PrintF("unigram_loss=%.3f nats a token: what knowing only token frequencies gives on data.validation\n",
                 *report->unigram_loss);
  }
  return absl::OkStatus();
}

}  // namespace

void add_prepare(CLI::App& app, Command& command) {
  CLI::App* prepare = app.add_subcommand("prepare", kAbout);
  const auto options = std::make_shared<PrepareOptions>();
  prepare->add_option("--input", options->inputs, "Files and folders: text, gzip text, or JSON lines")->required();
  prepare->add_option("--output", options->output, "PREFIX of the files to write")->required();
  CLI::Option* tokenizer =
      prepare->add_option("--tokenizer", options->tokenizer, "A sentencepiece model to use; else one is trained");
  prepare->add_option("--vocab-size", options->vocabulary_size, "Pieces of the tokenizer to train (BPE, byte fallback)")
      ->capture_default_str()
      ->excludes(tokenizer);
  prepare
      ->add_option("--format", options->format,
                   "text: a document a file; jsonl: {\"text\": ..., \"tag\": ...} a line, the tag optional")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "jsonl"}));
  prepare
      ->add_option("--tag-by", options->tag_by,
                   "Tag each text by the name of its folder or file, for supervised routing")
      ->check(CLI::IsMember({"folder", "file"}));
  prepare
      ->add_option("--max-length", options->max_length, "Cut documents into pieces of at most so many tokens; 0: never")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  prepare
      ->add_option("--validation-fraction", options->validation_fraction,
                   "Share of the documents to hold out as PREFIX.validation")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  prepare->add_option("--threads", options->threads, "0: as many as there are cores")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  prepare->footer(kExamples);
  prepare->callback([&command, options] { command.local = [options] { return run(*options); }; });
}

}  // namespace switchyard
