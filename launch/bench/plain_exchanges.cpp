#include "launch/bench/plain_exchanges.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "parallel/dispatch/row_exchange.h"
#include "runtime/base/status.h"

namespace switchyard {

std::vector<BenchExchange> plain_exchanges(const std::vector<RowCounts>& sizes, int64_t width,
                                           const at::TensorOptions& rows, Communicator& group) {
  int64_t most = 0;
  for (const RowCounts& size : sizes) most = std::max({most, sum_of(size.sent), sum_of(size.received)});
  const at::Tensor send_RD = at::ones({most, width}, rows), received_RD = at::ones_like(send_RD);  // of all sizes
  const auto row_bytes = width * static_cast<int64_t>(send_RD.element_size());
  std::vector<BenchExchange> exchanges;
  for (const RowCounts& size : sizes) {
    const auto run = [send = send_RD.narrow(0, 0, sum_of(size.sent)), sent = size.sent,
                      received = received_RD.narrow(0, 0, sum_of(size.received)), from = size.received,
                      &group] { throw_if_error(group.all_to_all(send, sent, received, from).wait()); };
    exchanges.push_back({.rows = size.rows,
                         .run = run,
                         .received = sum_of(size.received) * row_bytes,
                         .own = size.own * row_bytes,
                         .copies = {rows_on_host(size.received, group) * row_bytes}});
  }
  return exchanges;
}

}  // namespace switchyard
