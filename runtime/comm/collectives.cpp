#include "runtime/comm/collectives.h"

#include <numeric>

#include <ATen/ops/empty.h>

#include "runtime/base/check.h"
#include "runtime/comm/reduce.h"

namespace switchyard {
namespace {

char* bytes_of(const at::Tensor& tensor) {
  SY_CHECK(tensor.is_contiguous());
  return static_cast<char*>(tensor.data_ptr());
}

int64_t row_bytes(const at::Tensor& tensor) {
  SY_CHECK_GE(tensor.dim(), 1);
  int64_t bytes = static_cast<int64_t>(tensor.element_size());
  for (const int64_t size : tensor.sizes().slice(1)) bytes *= size;
  return bytes;
}

// The part of a tensor that belongs to each rank.
struct Pieces {
  char* base;
  std::vector<int64_t> offsets;  // bytes; one more than ranks

  char* begin(int rank) const { return base + offsets[rank]; }
  int64_t bytes(int rank) const { return offsets[rank + 1] - offsets[rank]; }
};

Pieces pieces_of(Seat seat, const at::Tensor& tensor, std::span<const int64_t> rows) {
  SY_CHECK_EQ(static_cast<int>(rows.size()), seat.size);
  Pieces pieces{bytes_of(tensor), {0}};
  const int64_t bytes_a_row = row_bytes(tensor);
  for (const int64_t count : rows) {
    SY_CHECK_GE(count, 0);
    pieces.offsets.push_back(pieces.offsets.back() + count * bytes_a_row);
  }
  SY_CHECK_EQ(std::accumulate(rows.begin(), rows.end(), int64_t{0}), tensor.size(0));
  return pieces;
}

// Elements cut at ⌊i·n/R⌋.
Pieces even_pieces(Seat seat, const at::Tensor& tensor) {
  Pieces pieces{bytes_of(tensor), {}};
  for (int i = 0; i <= seat.size; ++i) {
    pieces.offsets.push_back(i * tensor.numel() / seat.size * static_cast<int64_t>(tensor.element_size()));
  }
  return pieces;
}

// The part that a rank has for itself, which may be in place already.
Copy own_copy(char* to, const char* from, int64_t bytes) {
  return to == from ? Copy{} : Copy{to, from, bytes};
}

// Ranks after the own one first: not everybody turns to rank 0 at once.
template <typename Visit>
void for_each_peer(Seat seat, Visit visit) {
  for (int i = 1; i < seat.size; ++i) visit((seat.rank + i) % seat.size);
}

// Throws in the calling thread, not when the operation gets there, where the dtype has no reduction.
void check_reducible(const at::Tensor& tensor, ReduceOp op) {
  reduce_in_order(tensor.scalar_type(), op, {}, nullptr, 0);
}

at::Tensor scratch_bytes(int64_t bytes, const at::Tensor& like) {
  return at::empty({bytes}, like.options().dtype(at::kByte));
}

// A step that receives `bytes` from every peer into `scratch` and then reduces these and the own `mine`, in rank order,
// into `out`. The caller adds the sends.
Step reducing_step(Seat seat, const at::Tensor& scratch, char* mine, char* out, int64_t bytes, const at::Tensor& like,
                   ReduceOp op) {
  Step step;
  step.then = Reduction{.dtype = like.scalar_type(),
                        .op = op,
                        .rank = seat.rank,
                        .ranks = seat.size,
                        .mine = mine,
                        .others = bytes_of(scratch),
                        .piece_bytes = bytes,
                        .out = out};
  for_each_other(*step.then, [&](int rank, char* place) { step.receives.push_back({rank, place, bytes}); });
  return step;
}

}  // namespace

Plan plan_all_to_all(Seat seat, const at::Tensor& send, std::span<const int64_t> send_rows, const at::Tensor& recv,
                     std::span<const int64_t> recv_rows) {
  SY_CHECK(send.scalar_type() == recv.scalar_type());
  SY_CHECK_EQ(row_bytes(send), row_bytes(recv));
  const Pieces from = pieces_of(seat, send, send_rows);
  const Pieces to = pieces_of(seat, recv, recv_rows);
  SY_CHECK_EQ(from.bytes(seat.rank), to.bytes(seat.rank));
  Step step;
  for_each_peer(seat, [&](int peer) {
    step.sends.push_back({peer, from.begin(peer), from.bytes(peer)});
    step.receives.push_back({peer, to.begin(peer), to.bytes(peer)});
  });
  step.meanwhile = own_copy(to.begin(seat.rank), from.begin(seat.rank), from.bytes(seat.rank));
  return {{std::move(step)}, {send, recv}, Promptness::kInTurn};
}

Plan plan_all_reduce(Seat seat, const at::Tensor& inout, ReduceOp op) {
  check_reducible(inout, op);
  const int64_t total = inout.numel() * static_cast<int64_t>(inout.element_size());
  char* data = bytes_of(inout);
  if (seat.size == 1) return {};
  if (total <= kSmallReduce) {
    const at::Tensor scratch = scratch_bytes(total * (seat.size - 1), inout);
    Step step = reducing_step(seat, scratch, data, data, total, inout, op);
    for_each_peer(seat, [&](int peer) { step.sends.push_back({peer, data, total}); });
    return {{std::move(step)}, {inout, scratch}};
  }
  const Pieces pieces = even_pieces(seat, inout);
  const int64_t own_bytes = pieces.bytes(seat.rank);
  char* own = pieces.begin(seat.rank);
  const at::Tensor scratch = scratch_bytes(own_bytes * (seat.size - 1), inout);
  Step reduce = reducing_step(seat, scratch, own, own, own_bytes, inout, op);
  Step gather;
  gather.stage = 1;
  for_each_peer(seat, [&](int peer) {
    reduce.sends.push_back({peer, pieces.begin(peer), pieces.bytes(peer)});
    gather.sends.push_back({peer, own, own_bytes});
    gather.receives.push_back({peer, pieces.begin(peer), pieces.bytes(peer)});
  });
  return {{std::move(reduce), std::move(gather)}, {inout, scratch}};
}

Plan plan_reduce_scatter(Seat seat, const at::Tensor& send, std::span<const int64_t> rows, const at::Tensor& recv) {
  check_reducible(send, ReduceOp::kSum);
  SY_CHECK(send.scalar_type() == recv.scalar_type());
  SY_CHECK_EQ(row_bytes(send), row_bytes(recv));
  const Pieces pieces = pieces_of(seat, send, rows);
  SY_CHECK_EQ(recv.size(0), rows[seat.rank]);
  const int64_t own_bytes = pieces.bytes(seat.rank);
  const at::Tensor scratch = scratch_bytes(own_bytes * (seat.size - 1), recv);
  Step step = reducing_step(seat, scratch, pieces.begin(seat.rank), bytes_of(recv), own_bytes, recv, ReduceOp::kSum);
  for_each_peer(seat, [&](int peer) { step.sends.push_back({peer, pieces.begin(peer), pieces.bytes(peer)}); });
  return {{std::move(step)}, {send, recv, scratch}};
}

Plan plan_all_gather(Seat seat, const at::Tensor& send, const at::Tensor& recv, std::span<const int64_t> rows) {
  SY_CHECK(send.scalar_type() == recv.scalar_type());
  SY_CHECK_EQ(row_bytes(send), row_bytes(recv));
  const Pieces pieces = pieces_of(seat, recv, rows);
  SY_CHECK_EQ(send.size(0), rows[seat.rank]);
  char* own = bytes_of(send);
  const int64_t own_bytes = pieces.bytes(seat.rank);
  Step step;
  for_each_peer(seat, [&](int peer) {
    step.sends.push_back({peer, own, own_bytes});
    step.receives.push_back({peer, pieces.begin(peer), pieces.bytes(peer)});
  });
  step.meanwhile = own_copy(pieces.begin(seat.rank), own, own_bytes);
  return {{std::move(step)}, {send, recv}};
}

// A binomial tree: counted from the root, a rank hears from the one without its lowest set bit and passes on to those
// that have one lower bit more.
Plan plan_broadcast(Seat seat, const at::Tensor& inout, int root) {
  SY_CHECK(root >= 0 && root < seat.size);
  const int64_t bytes = inout.numel() * static_cast<int64_t>(inout.element_size());
  char* data = bytes_of(inout);
  const int place = (seat.rank - root + seat.size) % seat.size;
  const auto rank_at = [&](int other) { return (other + root) % seat.size; };
  Step hear, pass_on;
  int bit = 1;
  while (bit < seat.size && (place & bit) == 0) bit <<= 1;
  if (place != 0) hear.receives.push_back({rank_at(place - bit), data, bytes});
  for (bit >>= 1; bit > 0; bit >>= 1) {
    if (place + bit < seat.size) pass_on.sends.push_back({rank_at(place + bit), data, bytes});
  }
  return {{std::move(hear), std::move(pass_on)}, {inout}};
}

Plan plan_send(Seat seat, const at::Tensor& tensor, int to) {
  SY_CHECK(to >= 0 && to < seat.size && to != seat.rank);
  Step step;
  step.sends.push_back({to, bytes_of(tensor), tensor.numel() * static_cast<int64_t>(tensor.element_size())});
  return {{std::move(step)}, {tensor}};
}

Plan plan_recv(Seat seat, const at::Tensor& tensor, int from) {
  SY_CHECK(from >= 0 && from < seat.size && from != seat.rank);
  Step step;
  step.receives.push_back({from, bytes_of(tensor), tensor.numel() * static_cast<int64_t>(tensor.element_size())});
  return {{std::move(step)}, {tensor}};
}

// Dissemination: after round k every rank has heard, directly or not, from the 2^(k+1) − 1 ranks before it.
Plan plan_barrier(Seat seat) {
  Plan plan;
  for (int distance = 1; distance < seat.size; distance *= 2) {
    Step step;
    step.stage = static_cast<uint32_t>(plan.steps.size());
    step.sends.push_back({(seat.rank + distance) % seat.size, nullptr, 0});
    step.receives.push_back({(seat.rank - distance + seat.size) % seat.size, nullptr, 0});
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace switchyard
