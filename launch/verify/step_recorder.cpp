#include "launch/verify/step_recorder.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "parallel/topology/box.h"

namespace switchyard {
namespace {

int64_t first_row(const TokenBatch& batch) {
  return batch.part * batch.part_tokens + batch.first_token;
}

}  // namespace

StepRecorder::StepRecorder(Job& job, const RouterLog* log) : job_(job), log_(log) {
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
    record_.input_gradients.push_back(rows_part(name, row, tokens, gradient.detach().clone()));
  });
}

void StepRecorder::logits(const at::Tensor& logits_tV, int64_t row, const TokenBatch& batch) {
  const int64_t first_token_id =
      cut(job_.vocabulary, job_.mesh.size(Axis::kTensor), job_.mesh.index(Axis::kTensor)).first;
  record_.logits.push_back(rows_part("logits", first_row(batch) + row, batch.part_tokens * batch.parts,
                                     logits_tV.detach().clone(), first_token_id, job_.vocabulary));
}

// By now the part's routers have chosen.
void StepRecorder::losses(const DecoderOutput& output, const TokenBatch&) {
  if (!log_) return;
  routing_.routed.push_back(log_->latest());
  routing_.auxiliary_losses.push_back(output.auxiliary_loss.item<double>());
}

}  // namespace switchyard
