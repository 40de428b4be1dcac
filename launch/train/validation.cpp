#include "launch/train/validation.h"

#include <ATen/ATen.h>

#include "runtime/base/check.h"
#include "runtime/comm/exchange.h"

namespace switchyard {

absl::StatusOr<Validation> validate(Job& job) try {
  SY_CHECK(job.validation);
  const at::NoGradGuard no_grad;
  MoeMetrics moe(*job.model);
  ExpertUseCounter use(*job.model, job.mesh, job.validation_tags);
  double share = 0;
  for (int64_t part = 0; part < job.validation->parts(); ++part) {
    SY_ASSIGN_OR_RETURN(const TokenBatch batch, job.validation->load(part));
    share += job.model->forward(batch).loss.item<double>();
    moe.add_part(batch.part_tokens);
    use.add(batch);
  }
  SY_ASSIGN_OR_RETURN(const double loss, reduce_number(job.mesh.world(), share, ReduceOp::kSum));
  Validation validation{.loss = loss, .moe = moe.take(), .expert_use = {}};
  SY_ASSIGN_OR_RETURN(validation.expert_use, use.take());
  return validation;
} catch (const StatusError& e) {
  return e.status();
}

}  // namespace switchyard
