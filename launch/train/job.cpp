#include "launch/train/job.h"

#include <absl/strings/str_cat.h>

#include "launch/data/description.h"
#include "launch/data/tokenizer.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

absl::StatusOr<std::unique_ptr<SequenceSource>> open_source(const Job& job, const std::string& prefix, bool shuffled) {
  SourceOptions options{.sequence = job.config.data.sequence, .vocabulary = job.vocabulary};
  if (shuffled) options.seed = job.config.run.seed;
  if (!job.config.data.tokenizer.empty()) {
    SY_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::load(job.config.data.tokenizer));
    options.tokenizer_hash = tokenizer.hash();
  }
  return open_sequences(prefix, options);
}

// Tags that nothing names are named by their number.
absl::StatusOr<std::vector<std::string>> tag_names(const std::string& prefix, int64_t tags) {
  SY_ASSIGN_OR_RETURN(const auto description, read_description(prefix));
  std::vector<std::string> names = description ? description->tags : std::vector<std::string>();
  for (auto tag = static_cast<int64_t>(names.size()); tag < tags; ++tag) names.push_back(absl::StrCat(tag));
  if (tags == 0) names.clear();
  return names;
}

// Held-out data without tags is fine: only routing_accuracy is missing then.
absl::Status check_tags(const MoeConfig& moe, const std::string& prefix, int64_t tags, bool learns) {
  if (moe.experts == 0 || moe.router.kind != "supervised") return absl::OkStatus();
  if (tags == 0 && learns) {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("model.moe.router.kind=supervised learns from tags, but ", prefix,
                              " carries none; prepare it with --tag-by, or from JSON lines with a \"tag\""));
  }
  if (tags <= moe.router.labels) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               absl::StrCat(prefix, " carries ", tags, " tags, more than model.moe.router.labels=", moe.router.labels,
                            "; set it to ", tags, ", or leave documents with other tags out"));
}

}  // namespace

absl::StatusOr<int64_t> resolve_vocabulary(const RunConfig& config) {
  const int64_t asked = config.model.vocabulary;
  if (config.data.tokenizer.empty()) {
    if (asked > 0) return asked;
    return error(ErrorCategory::kBadConfig, "model.vocabulary is auto, but there is no data.tokenizer to take it from");
  }
  SY_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::load(config.data.tokenizer));
  if (asked == 0) return tokenizer.vocabulary_size();
  if (asked < tokenizer.vocabulary_size()) {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("model.vocabulary=", asked, " is less than the ", tokenizer.vocabulary_size(),
                              " tokens of ", config.data.tokenizer, "; leave it out to use the tokenizer's"));
  }
  return asked;
}

std::unique_ptr<Job> build_job(const RunConfig& config, int64_t vocabulary, const Mesh& mesh, c10::Device device,
                               Recorder& recorder, const Decorators& decorators) {
  auto job = std::unique_ptr<Job>(new Job{.config = config, .mesh = mesh, .recorder = recorder, .device = device});
  job->vocabulary = vocabulary;
  const auto options = at::TensorOptions(compute_dtype(config.train.compute_precision())).device(device);
  job->model = assemble(config.model, vocabulary, options, recompute_from_name(config.train.recompute),
                        static_cast<uint64_t>(config.run.seed), mesh, decorators);
  job->reducer =
      std::make_unique<GradientReducer>(job->model->parameters(), mesh,
                                        ReducerOptions{.bucket_bytes = int64_t{config.communication.bucket_mb} << 20,
                                                       .observer = record_reductions(recorder)});
  job->optimizer = std::make_unique<ShardedAdamW>(*job->reducer, mesh, config.optimizer);
  return job;
}

absl::Status open_data(Job& job) {
  const RunConfig& config = job.config;
  const DataRank data{.ranks = job.mesh.size(Axis::kData), .rank = job.mesh.index(Axis::kData)};
  SY_ASSIGN_OR_RETURN(auto train, open_source(job, config.data.train, true));
  SY_RETURN_IF_ERROR(check_tags(config.model.moe, config.data.train, train->tags(), true));
  job.state.data = checksum_text(train->fingerprint());
  job.batches =
      std::make_unique<BatchLoader>(std::move(train), BatchLoader::Options{.global_batch = config.train.global_batch,
                                                                           .accumulation = config.train.accumulation,
                                                                           .data = data});
  if (config.data.validation.empty()) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(auto validation, open_source(job, config.data.validation, false));
  SY_RETURN_IF_ERROR(check_tags(config.model.moe, config.data.validation, validation->tags(), false));
  SY_ASSIGN_OR_RETURN(job.validation_tags, tag_names(config.data.validation, validation->tags()));
  job.validation = std::make_unique<ValidationLoader>(std::move(validation), config.data.validation_sequences,
                                                      config.train.global_batch / config.train.accumulation, data);
  return absl::OkStatus();
}

}  // namespace switchyard
