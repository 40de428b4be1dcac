#include "launch/scale/runner.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <absl/time/clock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "launch/config/document.h"
#include "launch/scale/process.h"
#include "launch/train/console.h"
#include "runtime/base/status.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/directory.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostBytes = 64 << 20;

std::filesystem::path mark_path(const PlannedRun& run) {
  return run.folder / "scale-run.json";
}

std::filesystem::path metrics_path(const PlannedRun& run) {
  return run.folder / "metrics.jsonl";
}

// What the mark of a run's folder says; null where there is none.
Json read_mark(const PlannedRun& run) {
  const auto text = read_text_file(mark_path(run), kMostBytes);
  return text.ok() ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
}

absl::Status write_mark(const PlannedRun& run, const std::string& identity, bool complete) {
  const Json mark = {{"identity", identity}, {"complete", complete}};
  return write_file_atomically(mark_path(run), mark.dump(2) + "\n");
}

// An empty folder for the run. Only one that carries a mark is cleared.
absl::Status make_folder(const PlannedRun& run) {
  std::error_code code;
  if (folder_exists(run.folder) && !std::filesystem::is_empty(run.folder, code)) {
    if (!read_mark(run).is_object()) {
      return error(ErrorCategory::kIo, absl::StrCat(run.folder.string(),
                                                    " holds something that scale did not write: "
                                                    "choose another folder with --output"));
    }
    SY_RETURN_IF_ERROR(remove_tree(run.folder));
  }
  return create_folders(run.folder);
}

int64_t lines_in(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
}

std::optional<ErrorCategory> category_of(int exit_code) {
  using enum ErrorCategory;
  for (const ErrorCategory category : {kUsage, kBadData, kMissingInput, kUnavailable, kInternal, kOutOfMemory, kIo,
                                       kStoppedEarly, kCommunication, kDiverged, kBadConfig}) {
    if (static_cast<int>(category) == exit_code) return category;
  }
  return std::nullopt;
}

}  // namespace

std::filesystem::path log_path(const PlannedRun& run) {
  return run.folder / "output.log";
}

absl::Status job_failure(int exit_code, const std::string& log) {
  constexpr absl::string_view kError = "switchyard: error: ";
  std::string last;
  for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipWhitespace())) {
    last = std::string(line);
    if (absl::StartsWith(line, kError)) {
      last = std::string(line.substr(kError.size()));
      break;
    }
  }
  const std::optional<ErrorCategory> category = category_of(exit_code);
  return error(category.value_or(ErrorCategory::kInternal),
               absl::StrCat("ended with code ", exit_code, last.empty() ? "" : ": ", last));
}

absl::StatusOr<RunFigures> Runner::run(const PlannedRun& run, const std::string& place) {
  const std::string launch = absl::StrJoin(words(run), " ");
  const std::string identity =
      absl::StrCat("program ", options_.build, "\n", launch, "\n", options_.site.hosts, "\n", dump_yaml(run.config));
  const Json mark = read_mark(run);
  const bool there = mark.is_object() && mark.value("complete", false) && mark.value("identity", "") == identity;
  absl::StatusOr<RunFigures> figures =
      there ? read_figures(metrics_path(run), run.config.train.steps) : absl::NotFoundError("not done yet");
  if (!figures.ok()) {
    const absl::Status done = do_run(run, place, identity);
    if (!done.ok()) return annotate(done, run.name());
    figures = read_figures(metrics_path(run), run.config.train.steps);
  }
  if (figures.ok()) {
    Console(options_.out, false, 0, 0)
        .line(absl::StrFormat("%s: %s: %.0f tokens/s, %.3f s a step%s", place, run.name(), figures->tokens_per_second,
                              figures->step_seconds, there ? " (done before)" : ""));
  }
  return figures;
}

std::vector<std::string> Runner::words(const PlannedRun& run) const {
  std::vector<std::string> words = options_.site.words(run.ranks, run.config.run.threads);
  words.insert(words.end(), {options_.program, "train", options_.config});
  words.insert(words.end(), run.overrides.begin(), run.overrides.end());
  words.push_back("--profile");
  return words;
}

absl::Status Runner::do_run(const PlannedRun& run, const std::string& place, const std::string& identity) {
  if (options_.stop_requested()) return error(ErrorCategory::kStoppedEarly, "not started");
  SY_RETURN_IF_ERROR(make_folder(run));
  SY_RETURN_IF_ERROR(write_mark(run, identity, false));
  SY_ASSIGN_OR_RETURN(const int exit_code, wait_for(run, place));
  if (exit_code == 0) return write_mark(run, identity, true);
  const auto log = read_text_file(log_path(run), kMostBytes);
  const absl::Status failure = job_failure(exit_code, log.ok() ? *log : "");
  return error(error_category(failure),
               absl::StrCat(std::string(failure.message()), "\nits log is ", log_path(run).string()));
}

// Polls, and shows on a terminal how many steps are recorded.
absl::StatusOr<int> Runner::wait_for(const PlannedRun& run, const std::string& place) {
  ProcessOptions job{.words = words(run),
                     .environment = {{"OMP_NUM_THREADS", absl::StrCat(run.config.run.threads)}},
                     .output = log_path(run)};
  if (::getuid() == 0) {
    job.environment.insert(job.environment.end(),
                           {{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}});
  }
  Console console(options_.out, options_.terminal, 0, run.config.train.steps);
  console.line(absl::StrCat(place, ": ", run.name(), " begins; its log is ", log_path(run).string()));
  SY_ASSIGN_OR_RETURN(Process process, Process::start(job));
  while (true) {
    if (const std::optional<int> code = process.poll()) {
      if (options_.terminal) options_.out << "\r\x1b[K";
      return *code;
    }
    if (options_.stop_requested()) {
      process.end();
      return error(ErrorCategory::kStoppedEarly, "ended by a signal");
    }
    console.progress(std::min(lines_in(metrics_path(run)) + 1, run.config.train.steps));
    absl::SleepFor(absl::Milliseconds(200));
  }
}

}  // namespace switchyard
