#include "launch/train/validation.h"

#include <ATen/ATen.h>

#include "runtime/base/check.h"

namespace switchyard {

absl::StatusOr<double> validation_loss(Job& job) try {
  SY_CHECK(job.validation);
  const at::NoGradGuard no_grad;
  double share = 0;
  for (int64_t part = 0; part < job.validation->parts(); ++part) {
    SY_ASSIGN_OR_RETURN(const TokenBatch batch, job.validation->load(part));
    share += job.model->forward(batch).loss.item<double>();
  }
  at::Tensor loss = at::full({1}, share, at::kDouble);
  SY_RETURN_IF_ERROR(job.mesh.world().all_reduce(loss, ReduceOp::kSum).wait());
  return loss.item<double>();
} catch (const StatusError& e) {
  return e.status();
}

}  // namespace switchyard
