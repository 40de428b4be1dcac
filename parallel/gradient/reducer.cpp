#include "parallel/gradient/reducer.h"

#include <algorithm>

#include <ATen/Functions.h>
#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

constexpr int64_t kAlignment = 64;  // bytes

int64_t aligned(int64_t elements, at::ScalarType dtype) {
  const int64_t unit = kAlignment / static_cast<int64_t>(c10::elementSize(dtype));
  return (elements + unit - 1) / unit * unit;
}

at::ScalarType gradient_dtype(const Parameter& parameter) {
  return accumulate_dtype(parameter.value().scalar_type());
}

}  // namespace

ReductionObserver record_reductions(Recorder& recorder) {
  return [&recorder, begun = std::map<size_t, int64_t>()](ReductionEvent event, size_t bucket, int64_t bytes) mutable {
    if (!recorder.records_spans()) return;
    if (event == ReductionEvent::kLaunched) {
      begun[bucket] = Recorder::now();
    } else if (const auto begin = begun.extract(bucket)) {
      recorder.add({"reduce gradients", "communication", begin.mapped(), Recorder::now(), bytes});
    }
  };
}

GradientReducer::GradientReducer(const ParameterList& parameters, const Mesh& mesh, ReducerOptions options)
    : mesh_(mesh),
      options_(std::move(options)),
      parameters_(parameters),
      buckets_(make_buckets(parameters, mesh, options_.bucket_bytes)),
      reductions_(buckets_.size()) {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    for (const BucketMember& member : buckets_[b].members) {
      std::vector<size_t>& of = progress_[member.parameter].buckets;
      if (of.empty() || of.back() != b) of.push_back(b);
    }
  }
  attach_gradients();
  make_shards();
}

GradientReducer::~GradientReducer() {
  for (Parameter* parameter : parameters_) parameter->report_to_nobody();
}

// Last parameter first: the order in which backward fills them.
void GradientReducer::attach_gradients() {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    int64_t total = 0;
    for (const Parameter* parameter : parameters_) {
      if (gradient_dtype(*parameter) == dtype) total += aligned(parameter->value().numel(), dtype);
    }
    if (total == 0) continue;
    const at::Tensor flat =
        at::empty({total}, parameters_.front()->value().options().dtype(dtype).requires_grad(false));
    int64_t offset = 0;
    for (auto it = parameters_.rbegin(); it != parameters_.rend(); ++it) {
      const at::Tensor& value = (*it)->value();
      if (gradient_dtype(**it) != dtype) continue;
      (*it)->attach(flat.narrow(0, offset, value.numel()).view(value.sizes()), [this](Parameter& p) { ready(p); });
      offset += aligned(value.numel(), dtype);
    }
  }
}

void GradientReducer::make_shards() {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const Bucket& bucket = buckets_[b];
    Reduction& reduction = reductions_[b];
    reduction.owners = owners_along(mesh_, bucket.replicated, bucket.partial);
    reduction.owner = mesh_.group_index(bucket.replicated);
    reduction.first_shard = shards_.size();
    const Parameter& any = *bucket.members.front().parameter;
    if (reduction.owners.size() > 1) {
      reduction.sum = at::empty({bucket.owned_elements(reduction.owner)}, any.gradient().options());
    }
    int64_t offset = 0;
    for (const BucketMember& member : bucket.members) {
      const Range range = member.owned[reduction.owner];
      if (range.size() == 0) continue;
      const int64_t begin = member.slice->offset + range.begin;
      at::Tensor gradient = reduction.sum.defined()
                                ? reduction.sum.narrow(0, offset, range.size())
                                : member.parameter->gradient().view(-1).narrow(0, begin, range.size());
      shards_.push_back({member.parameter, member.slice, range, owned_box(*member.slice, range), std::move(gradient)});
      offset += range.size();
    }
    reduction.shards = shards_.size() - reduction.first_shard;
  }
}

std::span<const Shard> GradientReducer::shards_of(size_t bucket) const {
  return std::span<const Shard>(shards_).subspan(reductions_[bucket].first_shard, reductions_[bucket].shards);
}

void GradientReducer::begin_step() {
  SY_CHECK(!last_part_);
  for (Parameter* parameter : parameters_) parameter->clear_gradient();
}

void GradientReducer::begin_last_part() {
  SY_CHECK(!last_part_);
  last_part_ = true;
  for (auto& [parameter, progress] : progress_) {
    progress.ready = false;
    for (size_t b : progress.buckets) ++reductions_[b].waiting;
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    reductions_[b].launched = reductions_[b].owners.size() == 1;
    if (!reductions_[b].launched) queues_[buckets_[b].partial].push_back(b);
  }
}

void GradientReducer::ready(Parameter& parameter) {
  if (!last_part_) return;
  Progress& progress = progress_.at(&parameter);
  // A second time would mean gradients that came after their reduction.
  if (progress.ready) check_failed(__FILE__, __LINE__, absl::StrCat(parameter.name(), " became ready twice"));
  progress.ready = true;
  notice_completed();
  for (size_t b : progress.buckets) {
    if (--reductions_[b].waiting == 0) launch_ready(buckets_[b].partial);
  }
}

void GradientReducer::launch_ready(const AxisSet& group) {
  std::deque<size_t>& queue = queues_[group];
  while (!queue.empty() && reductions_[queue.front()].waiting == 0) {
    launch(queue.front());
    queue.pop_front();
  }
}

// Each rank along `partial` receives the sum of what it owns. Where `replicated` holds more ranks, what those own is
// summed by their own partial groups.
void GradientReducer::launch(size_t b) {
  const Bucket& bucket = buckets_[b];
  Reduction& reduction = reductions_[b];
  std::vector<int64_t> rows;
  std::vector<at::Tensor> parts;
  for (int owner : reduction.owners) {
    rows.push_back(bucket.owned_elements(owner));
    for (at::Tensor& part : bucket.gradients_of(owner)) parts.push_back(std::move(part));
  }
  reduction.launched = true;
  if (parts.empty()) return;
  reduction.send = pack(parts);
  if (options_.observer) options_.observer(ReductionEvent::kLaunched, b, reduction.send.nbytes());
  reduction.work = mesh_.group(bucket.partial, Purpose::kGradient).reduce_scatter(reduction.send, rows, reduction.sum);
  in_flight_.push_back(b);
}

void GradientReducer::notice_completed() {
  std::erase_if(in_flight_, [this](size_t b) {
    Reduction& reduction = reductions_[b];
    if (!reduction.work.done()) return false;
    if (options_.observer) options_.observer(ReductionEvent::kCompleted, b, reduction.send.nbytes());
    reduction.send.reset();
    return true;
  });
}

absl::Status GradientReducer::finish() {
  SY_CHECK(last_part_);
  for (const Parameter* parameter : parameters_) parameter->gradient();
  for (auto& [group, queue] : queues_) {
    for (size_t b : queue) launch(b);
    queue.clear();
  }
  absl::Status status;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    Reduction& reduction = reductions_[b];
    status.Update(annotate(reduction.work.wait(), "gradient reduction"));
    notice_completed();
    reduction.work = {};
    reduction.waiting = 0;
    if (options_.check_replicas && status.ok()) check_replicas(buckets_[b]);
  }
  in_flight_.clear();
  last_part_ = false;
  return status;
}

void GradientReducer::check_replicas(const Bucket& bucket) const {
  AxisSet equal;
  for (Axis axis : bucket.replicated) {
    if (std::count(bucket.partial.begin(), bucket.partial.end(), axis) == 0) equal.push_back(axis);
  }
  if (mesh_.group_size(equal) == 1) return;
  Communicator& group = mesh_.group(equal, Purpose::kGradient);
  for (const BucketMember& member : bucket.members) {
    const at::Tensor own = member.parameter->gradient_of(*member.slice).contiguous();
    const at::Tensor least = own.clone(), most = own.clone();
    throw_if_error(group.all_reduce(least, ReduceOp::kMin).wait());
    throw_if_error(group.all_reduce(most, ReduceOp::kMax).wait());
    if (!at::equal(least.nan_to_num(), most.nan_to_num())) {
      check_failed(__FILE__, __LINE__,
                   absl::StrCat(member.slice->spec.name, ": gradients differ over ", group.name(),
                                ", where its spec says that they are equal"));
    }
  }
}

}  // namespace switchyard
