#include "launch/verify/model_faults.h"

#include <algorithm>

#include "layers/moe/router/router_decorator.h"
#include "parallel/dispatch/dispatcher_decorator.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

template <typename Change, typename... Arguments>
at::Tensor changed(const Change& change, ChangeCount* count, const at::Tensor& x, const Arguments&... arguments) {
  if (!change) return x;
  const at::Tensor result = change(x, arguments...);
  return count ? count->note(x, result) : result;
}

class FaultyDispatcher : public DispatcherDecorator {
 public:
  FaultyDispatcher(std::unique_ptr<Dispatcher> dispatcher, DispatchFault fault)
      : DispatcherDecorator(std::move(dispatcher)), fault_(std::move(fault)) {}

  std::vector<std::shared_ptr<const DispatchPlan>> plan(std::span<const Routing> parts) override {
    std::vector<Routing> given;
    for (const Routing& part : parts) {
      given.push_back(fault_.routing ? fault_.routing(part) : part);
      given.back().weights = changed(fault_.weights, fault_.changes.get(), given.back().weights);
      if (fault_.changes) fault_.changes->note(part.experts, given.back().experts);
    }
    return DispatcherDecorator::plan(given);
  }
  Dispatched end_dispatch(const Dispatched& begun) override {
    Dispatched sent = DispatcherDecorator::end_dispatch(begun);
    sent.rows_RD = changed(fault_.rows, fault_.changes.get(), sent.rows_RD, sent.counts);
    return sent;
  }

  at::Tensor begin_combine(const at::Tensor& y_RD, const std::shared_ptr<const DispatchPlan>& plan) override {
    return DispatcherDecorator::begin_combine(changed(fault_.results, fault_.changes.get(), y_RD), plan);
  }
  at::Tensor end_combine(const at::Tensor& begun, const std::shared_ptr<const DispatchPlan>& plan) override {
    return changed(fault_.combined, fault_.changes.get(), DispatcherDecorator::end_combine(begun, plan));
  }

 private:
  const DispatchFault fault_;
};

class FaultyRouter : public RouterDecorator {
 public:
  FaultyRouter(std::unique_ptr<Router> router, RouterFault fault)
      : RouterDecorator(std::move(router)), fault_(std::move(fault)) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    // That a context matters is not seen in itself; all tokens count.
    if (fault_.context && fault_.changes) fault_.changes->add(x_tD.size(0));
    const RouterOutput output = RouterDecorator::route(x_tD, fault_.context ? fault_.context(context) : context);
    if (!fault_.output) return output;
    RouterOutput spoiled = fault_.output(output);
    if (fault_.changes) fault_.changes->note(output.routing.weights, spoiled.routing.weights);
    return spoiled;
  }

 private:
  const RouterFault fault_;
};

class FaultyBatches : public SequenceSource {
 public:
  FaultyBatches(std::unique_ptr<SequenceSource> source, BatchFault fault)
      : source_(std::move(source)), fault_(std::move(fault)) {}

  int64_t sequence() const override { return source_->sequence(); }
  int64_t sequences_per_epoch() const override { return source_->sequences_per_epoch(); }
  int64_t tags() const override { return source_->tags(); }
  uint64_t fingerprint() const override { return source_->fingerprint(); }
  int64_t targets(int64_t begin, int64_t end) override {
    const int64_t count = source_->targets(begin, end), given = fault_.targets ? fault_.targets(count) : count;
    if (fault_.changes && given != count) fault_.changes->add(1);
    return given;
  }
  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override {
    const int64_t given = fault_.sequence ? fault_.sequence(n) : n;
    if (fault_.changes && given != n) fault_.changes->add(sequence());
    SY_RETURN_IF_ERROR(source_->read(given, rows, piece_starts));
    if (!fault_.rows) return absl::OkStatus();
    const std::vector<int64_t> targets(rows.targets, rows.targets + sequence());
    fault_.rows(rows, sequence());
    if (fault_.changes && !std::equal(targets.begin(), targets.end(), rows.targets)) fault_.changes->add(1);
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<SequenceSource> source_;
  const BatchFault fault_;
};

}  // namespace

std::unique_ptr<Dispatcher> faulty_dispatcher(std::unique_ptr<Dispatcher> dispatcher, DispatchFault fault) {
  return std::make_unique<FaultyDispatcher>(std::move(dispatcher), std::move(fault));
}

std::unique_ptr<Router> faulty_router(std::unique_ptr<Router> router, RouterFault fault) {
  return std::make_unique<FaultyRouter>(std::move(router), std::move(fault));
}

std::unique_ptr<SequenceSource> faulty_batches(std::unique_ptr<SequenceSource> source, BatchFault fault) {
  return std::make_unique<FaultyBatches>(std::move(source), std::move(fault));
}

}  // namespace switchyard
