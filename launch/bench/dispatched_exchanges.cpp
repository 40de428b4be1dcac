#include "launch/bench/dispatched_exchanges.h"

#include <memory>

#include <ATen/ATen.h>

#include "parallel/dispatch/expert_draw.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/topology/placement.h"

namespace switchyard {

std::vector<BenchExchange> dispatched_exchanges(const std::vector<RowCounts>& sizes, int64_t experts, int64_t width,
                                                const at::TensorOptions& rows, const Mesh& mesh) {
  const Communicator& group = mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
  const std::shared_ptr<Dispatcher> dispatcher =
      make_dispatcher(mesh.shape().dispatcher, Placement::contiguous(experts, mesh.size(Axis::kExpert)), mesh);
  const at::Tensor x_TD = at::ones({sizes.back().rows, width}, rows);  // of all sizes
  const auto row_bytes = width * static_cast<int64_t>(x_TD.element_size());
  std::vector<BenchExchange> exchanges;
  for (const RowCounts& size : sizes) {
    const auto out_and_back = [dispatcher, x_tD = x_TD.narrow(0, 0, size.rows),
                               routing = routing_to(size.experts_TK, rows)] {
      const at::NoGradGuard no_gradients;
      const Dispatched sent = dispatcher->dispatch(x_tD, routing);
      dispatcher->combine(sent.rows_RD, sent.plan);
    };
    exchanges.push_back({.rows = size.rows,
                         .run = out_and_back,
                         .own = 2 * size.own * row_bytes,
                         .copies = {(size.own + rows_on_host(size.received, group)) * row_bytes,
                                    (size.own + rows_on_host(size.sent, group)) * row_bytes}});
  }
  return exchanges;
}

}  // namespace switchyard
