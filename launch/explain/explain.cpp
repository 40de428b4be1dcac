#include "launch/explain/explain.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>

#include "launch/config/binder.h"
#include "launch/data/corpus.h"
#include "launch/data/tokenizer.h"
#include "launch/explain/report.h"
#include "launch/explain/text_sequences.h"
#include "launch/train/create_mesh.h"
#include "launch/train/job.h"
#include "launch/train/moe_metrics.h"
#include "launch/train/saving.h"
#include "runtime/comm/agreement.h"
#include "runtime/storage/atomic_file.h"

namespace switchyard {
namespace {

void warn(const Communicator& world, const std::string& what) {
  if (world.rank() == 0) std::cout << "warning: " << what << "\n";
}

absl::StatusOr<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path, Communicator& world) {
  std::error_code code;
  const std::filesystem::path folder = std::filesystem::path(path) / "checkpoints";
  if (!std::filesystem::is_directory(folder, code)) return agree(world, Checkpoint::open(path));
  SY_ASSIGN_OR_RETURN(LatestCheckpoint latest, agree(world, find_latest(folder, world)));
  for (const std::string& line : latest.skipped) warn(world, "skipped " + line);
  if (latest.checkpoint) return std::move(latest.checkpoint);
  return agree(world, error(ErrorCategory::kMissingInput, absl::StrCat("no checkpoint in ", folder.string())));
}

// The run's own config on a layout for these ranks.
absl::StatusOr<RunConfig> config_of(const RunState& state, const ExplainOptions& options, int ranks) {
  RunConfig saved;
  SY_RETURN_IF_ERROR(bind_text(schema_of(saved), state.config, "the saved config", {}));
  const int64_t experts = std::max<int64_t>(1, std::min<int64_t>(ranks, saved.model.moe.experts));
  std::vector<std::string> overrides = {"parallel.data=auto", "parallel.tensor=1", "parallel.expert_tensor=1",
                                        absl::StrCat("parallel.expert=", ranks % experts == 0 ? experts : 1)};
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  RunConfig config;
  SY_RETURN_IF_ERROR(bind_text(schema_of(config), state.config, "the saved config", overrides));
  if (config.model.moe.experts == 0) {
    return error(ErrorCategory::kUsage, "the model has no mixture-of-experts layers: there is no routing to explain");
  }
  return config;
}

absl::StatusOr<std::string> read_text(const std::string& path) {
  CorpusReader reader({path}, TextFormat::kText);
  SY_ASSIGN_OR_RETURN(auto documents, reader.next());
  if (!documents || documents->empty()) return error(ErrorCategory::kBadData, absl::StrCat(path, " has no text"));
  SY_ASSIGN_OR_RETURN(DocumentText document, document_text(std::move(documents->front()), TextFormat::kText));
  return std::move(document.text);
}

struct Tokens {
  std::unique_ptr<SequenceSource> source;
  int64_t count = 0;  // to be explained; the last sequence may go on beyond them
};

// Opened twice: for the batches, and for the ids.
absl::StatusOr<Tokens> open_tokens(const ExplainOptions& options, const RunConfig& config, int64_t vocabulary,
                                   const Tokenizer& tokenizer) {
  if (!options.data.empty()) {
    SY_ASSIGN_OR_RETURN(auto source, open_sequences(options.data, {.sequence = config.data.sequence,
                                                                   .vocabulary = vocabulary,
                                                                   .seed = std::nullopt,
                                                                   .tokenizer_hash = tokenizer.hash()}));
    const int64_t tokens = source->sequences_per_epoch() * source->sequence();
    return Tokens{std::move(source), std::min(options.tokens, tokens)};
  }
  SY_ASSIGN_OR_RETURN(const std::string text, read_text(options.text));
  SY_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.encode(text));
  ids.resize(std::min<size_t>(ids.size(), options.tokens));
  const auto count = static_cast<int64_t>(ids.size());
  return Tokens{std::make_unique<TextSequences>(std::vector<int64_t>(ids.begin(), ids.end()), config.data.sequence,
                                                tokenizer.end_of_document()),
                count};
}

// What each token adds to the text before it.
absl::StatusOr<std::vector<std::string>> token_texts(const std::vector<int64_t>& ids, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  // Decoded after a neutral token, since a first piece loses its leading space.
  SY_ASSIGN_OR_RETURN(const std::vector<int32_t> before, tokenizer.encode("."));
  SY_ASSIGN_OR_RETURN(const std::string lead, tokenizer.decode(before));
  for (const int64_t id : ids) {
    std::vector<int32_t> both = before;
    both.push_back(static_cast<int32_t>(id));
    SY_ASSIGN_OR_RETURN(const std::string text, tokenizer.decode(both));
    texts.push_back(text.substr(std::min(lead.size(), text.size())));
  }
  return texts;
}

int64_t sequences_of(const Tokens& tokens) {
  return (tokens.count + tokens.source->sequence() - 1) / tokens.source->sequence();
}

// The ids, and where pieces of documents begin among them.
absl::Status read_ids(const Tokens& tokens, Explanation& explanation) {
  const int64_t length = tokens.source->sequence(), sequences = sequences_of(tokens);
  std::vector<int64_t> ids(sequences * length), targets(ids), positions(ids), tags(ids);
  for (int64_t n = 0; n < sequences; ++n) {
    const int64_t first = n * length;
    SY_RETURN_IF_ERROR(tokens.source->read(n,
                                           {.tokens = &ids[first],
                                            .targets = &targets[first],
                                            .positions = &positions[first],
                                            .tags = &tags[first],
                                            .first_row = first},
                                           explanation.piece_starts));
  }
  ids.resize(tokens.count);
  explanation.ids = std::move(ids);
  std::erase_if(explanation.piece_starts, [&](int64_t start) { return start >= tokens.count; });
  return absl::OkStatus();
}

// Of a trace, the first `tokens` alone: a last sequence is filled up.
void cut_trace(LayerTrace& trace, size_t tokens) {
  trace.offsets.resize(tokens + 1);
  for (auto* slots : {&trace.weights, &trace.probabilities, &trace.scores, &trace.margins}) {
    slots->resize(trace.offsets.back());
  }
  trace.chosen.resize(trace.offsets.back());
  trace.kept.resize(trace.offsets.back());
}

absl::Status write_reports(const Explanation& explanation, const ExplainOptions& options) {
  const std::string json = explanation_json(explanation);
  if (!options.json.empty()) SY_RETURN_IF_ERROR(write_file_atomically(options.json, json));
  if (!options.html.empty()) SY_RETURN_IF_ERROR(write_file_atomically(options.html, explanation_page(json)));
  std::cout << explanation_table(explanation);
  for (const std::string& path : {options.html, options.json}) {
    if (!path.empty()) std::cout << "written: " << path << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status explain(const ExplainOptions& options, Communicator& world) try {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, open_checkpoint(options.checkpoint, world));
  SY_ASSIGN_OR_RETURN(const RunState state, agree(world, parse_run_state(checkpoint->run_state())));
  SY_ASSIGN_OR_RETURN(const RunConfig config, agree(world, config_of(state, options, world.size())));
  SY_ASSIGN_OR_RETURN(const Tokenizer tokenizer, agree(world, Tokenizer::load(config.data.tokenizer)));
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  if (config.run.threads > 0) at::set_num_threads(config.run.threads);
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, c10::kCPU, world, [&](const std::string& line) {
                        if (world.rank() == 0) std::cerr << line << "\n";
                      }));

  Recorder recorder;
  RoutingRecorder routing;
  Decorators decorators;
  decorators.router = [&](std::unique_ptr<Router> router) { return routing.decorate(std::move(router)); };
  const std::unique_ptr<Job> job = build_job(config, state.vocabulary, *mesh, c10::kCPU, recorder, decorators);
  SY_RETURN_IF_ERROR(restore_model(*job, *checkpoint));

  const DataRank data{.ranks = mesh->size(Axis::kData), .rank = mesh->index(Axis::kData)};
  SY_ASSIGN_OR_RETURN(Tokens tokens, agree(world, open_tokens(options, config, state.vocabulary, tokenizer)));
  const int64_t sequences = sequences_of(tokens);
  ValidationLoader batches(std::move(tokens.source), sequences, config.train.global_batch / config.train.accumulation,
                           data);

  Explanation explanation{.checkpoint = checkpoint->path().string(),
                          .step = checkpoint->step(),
                          .source = options.data.empty() ? options.text : options.data,
                          .router = config.model.moe.router.kind,
                          .choice = describe_choice(config.model.moe)};
  std::vector<MoeLayer*> mixtures;
  for (const auto& [layer, moe] : job->model->moe_layers()) {
    mixtures.push_back(moe);
    explanation.layers.push_back(
        {.layer = layer, .experts = config.model.moe.experts, .experts_choose = explanation.choice.experts_choose});
  }
  const at::NoGradGuard no_grad;
  MoeMetrics figures(*job->model);
  for (int64_t part = 0; part < batches.parts(); ++part) {
    SY_ASSIGN_OR_RETURN(TokenBatch batch, agree(world, batches.load(part)));
    batch.tags.reset();  // only losses look at them, and here they may be others than the router learned from
    (void)job->model->forward(batch);
    figures.add_part(batch.part_tokens);
    SY_RETURN_IF_ERROR(routing.append(world, explanation.layers));
  }
  if (const std::string where = figures.take().not_finite; !where.empty()) warn(world, where);
  for (size_t i = 0; i < mixtures.size(); ++i) {
    SY_RETURN_IF_ERROR(routing.compare_experts(i, *mixtures[i], world, explanation.layers[i]));
  }

  const auto write = [&]() -> absl::Status {
    if (world.rank() != 0) return absl::OkStatus();
    SY_ASSIGN_OR_RETURN(const Tokens again, open_tokens(options, config, state.vocabulary, tokenizer));
    SY_RETURN_IF_ERROR(read_ids(again, explanation));
    SY_ASSIGN_OR_RETURN(explanation.texts, token_texts(explanation.ids, tokenizer));
    for (LayerTrace& trace : explanation.layers) cut_trace(trace, explanation.ids.size());
    return write_reports(explanation, options);
  };
  return agree(world, write());
} catch (const StatusError& failure) {
  return failure.status();
}

}  // namespace switchyard
