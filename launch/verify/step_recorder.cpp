#include "launch/verify/step_recorder.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"
#include "parallel/topology/box.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

// A row block of a tensor over the tokens of a step.
TensorPart rows_part(std::string name, int64_t first_row, int64_t rows, const at::Tensor& data, int64_t first_column,
                     int64_t columns) {
  return {.name = std::move(name),
          .dtype = data.scalar_type(),
          .shape = {rows, columns},
          .box = {{first_row, first_column}, {data.size(0), data.size(1)}},
          .data = data};
}

int64_t first_row(const TokenBatch& batch) {
  return batch.part * batch.part_tokens + batch.first_token;
}

// All ranks' rows, in rank order.
absl::StatusOr<at::Tensor> gather(Communicator& world, const at::Tensor& mine) {
  const at::Tensor sizes = at::empty({world.size()}, at::kLong);
  SY_RETURN_IF_ERROR(
      world.all_gather(at::tensor({mine.size(0)}, at::kLong), sizes, std::vector<int64_t>(world.size(), 1)).wait());
  const std::vector<int64_t> rows(sizes.const_data_ptr<int64_t>(), sizes.const_data_ptr<int64_t>() + world.size());
  at::Tensor all = at::empty({sizes.sum().item<int64_t>()}, mine.options());
  SY_RETURN_IF_ERROR(world.all_gather(mine.contiguous(), all, rows).wait());
  return all;
}

absl::StatusOr<Choice> gather(Communicator& world, const Choice& mine) {
  Choice all;
  SY_ASSIGN_OR_RETURN(const at::Tensor counts, gather(world, at::diff(mine.offsets)));
  all.offsets = at::cat({at::zeros({1}, at::kLong), counts.cumsum(0)});
  SY_ASSIGN_OR_RETURN(all.experts, gather(world, mine.experts));
  if (mine.kept.defined()) {
    SY_ASSIGN_OR_RETURN(const at::Tensor kept, gather(world, mine.kept.to(at::kByte)));
    all.kept = kept.to(at::kBool);
  }
  return all;
}

}  // namespace

StepRecorder::StepRecorder(Job& job) : job_(job) {
  job_.model->observe(this);
}

StepRecorder::~StepRecorder() {
  job_.model->observe(nullptr);
}

void StepRecorder::block_input(int64_t layer, const at::Tensor& x_tD, const TokenBatch& batch) {
  if (!x_tD.requires_grad()) return;
  const int64_t begin = cut(batch.tokens.numel(), job_.mesh.size(Axis::kTensor), job_.mesh.index(Axis::kTensor)).first;
  const std::string name = absl::StrCat("layers.", layer, ".input");
  const int64_t row = first_row(batch) + begin, tokens = batch.part_tokens * batch.parts;
  x_tD.register_hook([this, name, row, tokens](const at::Tensor& gradient) {
    record_.input_gradients.push_back(rows_part(name, row, tokens, gradient.detach().clone(), 0, gradient.size(1)));
  });
}

// The last that a part's forward gives: by now its routers have chosen.
void StepRecorder::logits(const at::Tensor& logits_TV, const TokenBatch& batch) {
  const int64_t first_token_id =
      cut(job_.vocabulary, job_.mesh.size(Axis::kTensor), job_.mesh.index(Axis::kTensor)).first;
  record_.logits.push_back(rows_part("logits", first_row(batch), batch.part_tokens * batch.parts,
                                     logits_TV.detach().clone(), first_token_id, job_.vocabulary));
  record_routers(batch);
}

void StepRecorder::record_routers(const TokenBatch& batch) {
  std::vector<Choice>& choices = choices_.emplace_back();
  for (const auto& [layer, moe] : job_.model->moe_layers()) {
    record_statistics(layer, batch.part, moe->statistics(), record_);
    choices.push_back(moe->choice());
  }
}

void record_statistics(int64_t layer, int64_t part, const RouterStatistics& statistics, StepRecord& record) {
  const std::string prefix = absl::StrCat("layers.", layer, ".moe.");
  const std::string suffix = absl::StrCat(".part", part);
  for (const auto& [name, value] : statistics.losses) {
    record.auxiliary_losses.push_back(whole_part(prefix + name + suffix, at::full({1}, value, at::kDouble)));
  }
  record.token_counts.push_back(
      whole_part(prefix + "tokens" + suffix, at::tensor(statistics.tokens_per_expert, at::kLong).to(at::kDouble)));
  record.token_counts.push_back(
      whole_part(prefix + "dropped" + suffix, at::full({1}, statistics.dropped, at::kDouble)));
}

StepRecord StepRecorder::take() {
  choices_.clear();
  return std::exchange(record_, {});
}

absl::StatusOr<Choices> StepRecorder::gather_choices(Communicator& world) const {
  Choices all;
  for (const std::vector<Choice>& part : choices_) {
    std::vector<Choice>& layers = all.emplace_back();
    for (const Choice& choice : part) {
      SY_ASSIGN_OR_RETURN(Choice gathered, gather(world, choice));
      layers.push_back(std::move(gathered));
    }
  }
  return all;
}

}  // namespace switchyard
