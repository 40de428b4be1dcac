// Dispatchers, routers and batches with a bug. What a fault changes is noted where it has a count.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "launch/data/sequence_source.h"
#include "launch/verify/change_count.h"
#include "layers/moe/router/router.h"
#include "parallel/dispatch/dispatcher.h"

namespace switchyard {

// What happens to what passes through a dispatcher; each may be empty.
struct DispatchFault {
  std::function<Routing(const Routing&)> routing = nullptr;
  std::function<at::Tensor(const at::Tensor& rows_RD, const std::vector<int64_t>& counts)> rows =
      nullptr;                                                          // as dispatched
  std::function<at::Tensor(const at::Tensor& y_RD)> results = nullptr;  // of the experts
  std::function<at::Tensor(const at::Tensor& weights_N)> weights = nullptr;
  std::function<at::Tensor(const at::Tensor& y_TD)> combined = nullptr;
  std::shared_ptr<ChangeCount> changes = nullptr;
};
std::unique_ptr<Dispatcher> faulty_dispatcher(std::unique_ptr<Dispatcher> dispatcher, DispatchFault fault);

// What happens to what a router sees and gives; each may be empty.
struct RouterFault {
  std::function<TokenContext(TokenContext)> context = nullptr;
  std::function<RouterOutput(RouterOutput)> output = nullptr;
  std::shared_ptr<ChangeCount> changes = nullptr;
};
std::unique_ptr<Router> faulty_router(std::unique_ptr<Router> router, RouterFault fault);

// What happens to the sequences that a rank reads; each may be empty.
struct BatchFault {
  std::function<int64_t(int64_t n)> sequence = nullptr;                // reads this one instead
  std::function<void(const SequenceRows&, int64_t S)> rows = nullptr;  // after they were read
  std::function<int64_t(int64_t targets)> targets = nullptr;           // the count
  std::shared_ptr<ChangeCount> changes = nullptr;
};
std::unique_ptr<SequenceSource> faulty_batches(std::unique_ptr<SequenceSource> source, BatchFault fault);

}  // namespace switchyard
