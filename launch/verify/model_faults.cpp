#include "launch/verify/model_faults.h"

#include "runtime/base/status.h"

namespace switchyard {
namespace {

template <typename Change, typename... Arguments>
at::Tensor changed(const Change& change, const at::Tensor& x, const Arguments&... arguments) {
  return change ? change(x, arguments...) : x;
}

class FaultyDispatcher : public Dispatcher {
 public:
  FaultyDispatcher(std::unique_ptr<Dispatcher> dispatcher, DispatchFault fault)
      : dispatcher_(std::move(dispatcher)), fault_(std::move(fault)) {}

  Dispatched dispatch(const at::Tensor& x_TD, const Routing& routing) override {
    Dispatched sent = dispatcher_->dispatch(x_TD, fault_.routing ? fault_.routing(routing) : routing);
    sent.rows_RD = changed(fault_.rows, sent.rows_RD, sent.counts);
    return sent;
  }

  at::Tensor combine(const at::Tensor& y_RD, const at::Tensor& weights_N,
                     const std::shared_ptr<const DispatchPlan>& plan) override {
    return changed(fault_.combined,
                   dispatcher_->combine(changed(fault_.results, y_RD), changed(fault_.weights, weights_N), plan));
  }

 private:
  const std::unique_ptr<Dispatcher> dispatcher_;
  const DispatchFault fault_;
};

class FaultyRouter : public Router {
 public:
  FaultyRouter(std::unique_ptr<Router> router, RouterFault fault)
      : router_(std::move(router)), fault_(std::move(fault)) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = router_->route(x_tD, fault_.context ? fault_.context(context) : context);
    return fault_.output ? fault_.output(std::move(output)) : std::move(output);
  }
  ParameterList parameters() override { return router_->parameters(); }
  std::vector<RouterBuffer> buffers() override { return router_->buffers(); }
  void replay(Choice choice) override { router_->replay(std::move(choice)); }
  void finish_step() override { router_->finish_step(); }

 private:
  const std::unique_ptr<Router> router_;
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
    const int64_t count = source_->targets(begin, end);
    return fault_.targets ? fault_.targets(count) : count;
  }
  absl::Status read(int64_t n, const SequenceRows& rows, std::vector<int64_t>& piece_starts) override {
    SY_RETURN_IF_ERROR(source_->read(fault_.sequence ? fault_.sequence(n) : n, rows, piece_starts));
    if (fault_.rows) fault_.rows(rows, sequence());
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
