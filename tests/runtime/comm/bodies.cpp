#include "tests/runtime/comm/bodies.h"

#include <cstring>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {
namespace {

// Empty, one, odd, just beyond where all_reduce changes its ways, and large.
constexpr int64_t kSizes[] = {0, 1, 37, 8193, 70'001};
constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kInt};

// What `rank` contributes: values of very different magnitude, so that the order of a sum shows in its bits.
at::Tensor contribution(int rank, int64_t rows, int64_t width, at::ScalarType dtype, int salt = 0) {
  at::Tensor values = at::empty({rows, width}, at::kDouble);
  double* data = values.data_ptr<double>();
  uint64_t state = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(rank + 1) + static_cast<uint64_t>(salt);
  for (int64_t i = 0; i < values.numel(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double mantissa = static_cast<double>(state >> 40) / (1 << 24) - 0.5;
    data[i] = mantissa * static_cast<double>(1 << (state >> 33) % 12);
  }
  return values.to(dtype);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

// The reference: one ATen addition after the other in rank order, 16-bit dtypes in fp32.
at::Tensor reduced(int ranks, ReduceOp op, const std::function<at::Tensor(int)>& of_rank) {
  const at::ScalarType dtype = of_rank(0).scalar_type();
  const at::ScalarType wide = dtype == at::kBFloat16 || dtype == at::kHalf ? at::kFloat : dtype;
  at::Tensor result = of_rank(0).to(wide);
  for (int rank = 1; rank < ranks; ++rank) {
    const at::Tensor next = of_rank(rank).to(wide);
    result = op == ReduceOp::kSum   ? result + next
             : op == ReduceOp::kMax ? at::maximum(result, next)
                                    : at::minimum(result, next);
  }
  return result.to(dtype);
}

// Uneven, with empty parts.
int64_t rows_between(int from, int to, int64_t size) {
  return (from + 2 * to) % 3 * size / 2 + (from * to) % 2;
}

void all_to_all_of(Communicator& world, at::ScalarType dtype, int64_t size, int64_t width) {
  const int me = world.rank(), ranks = world.size();
  std::vector<int64_t> send_rows, recv_rows;
  std::vector<at::Tensor> sent, expected;
  for (int peer = 0; peer < ranks; ++peer) {
    send_rows.push_back(rows_between(me, peer, size));
    recv_rows.push_back(rows_between(peer, me, size));
    sent.push_back(contribution(me, send_rows.back(), width, dtype, peer));
    expected.push_back(contribution(peer, recv_rows.back(), width, dtype, me));
  }
  const at::Tensor expected_all = at::cat(expected);
  const at::Tensor recv = at::empty_like(expected_all);
  throw_if_error(world.all_to_all(at::cat(sent), send_rows, recv, recv_rows).wait());
  ASSERT_TRUE(same_bits(recv, expected_all)) << "rank " << me << " size " << size << " " << dtype;
}

void all_to_all(Communicator& world) {
  for (const int64_t size : kSizes) all_to_all_of(world, at::kFloat, size, 1);
  for (const at::ScalarType dtype : kDtypes) all_to_all_of(world, dtype, 37, 5);
  all_to_all_of(world, at::kDouble, 37, 0);
}

void all_reduce(Communicator& world) {
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t size : kSizes) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        const auto of_rank = [&](int rank) { return contribution(rank, size, 1, dtype); };
        const at::Tensor values = of_rank(world.rank());
        throw_if_error(world.all_reduce(values, op).wait());
        ASSERT_TRUE(same_bits(values, reduced(world.size(), op, of_rank)))
            << "rank " << world.rank() << " size " << size << " " << dtype << " op " << static_cast<int>(op);
      }
    }
  }
}

void all_reduce_of_a_scalar_and_nan(Communicator& world) {
  const at::Tensor scalar = at::scalar_tensor(1.5, at::kDouble);
  throw_if_error(world.all_reduce(scalar, ReduceOp::kSum).wait());
  EXPECT_EQ(scalar.item<double>(), 1.5 * world.size());
  for (const ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin, ReduceOp::kSum}) {
    const double mine = world.rank() == world.size() / 2 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    const at::Tensor values = at::full({3}, mine, at::kFloat);
    throw_if_error(world.all_reduce(values, op).wait());
    EXPECT_TRUE(at::isnan(values).all().item<bool>()) << "op " << static_cast<int>(op);
  }
}

// Small and large messages take different ways; an element's sum must not show which.
void all_reduce_has_the_same_bits_whatever_the_size(Communicator& world) {
  const at::Tensor large = contribution(world.rank(), 5000, 1, at::kFloat);
  const at::Tensor small = large.slice(0, 0, 100).clone();
  throw_if_error(world.all_reduce(large, ReduceOp::kSum).wait());
  throw_if_error(world.all_reduce(small, ReduceOp::kSum).wait());
  EXPECT_TRUE(same_bits(small, large.slice(0, 0, 100).contiguous()));
}

void reduce_scatter(Communicator& world) {
  const int me = world.rank();
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t size : kSizes) {
      std::vector<int64_t> rows;
      for (int rank = 0; rank < world.size(); ++rank) rows.push_back(rows_between(rank, 1, size / 4));
      const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
      const int64_t start = std::accumulate(rows.begin(), rows.begin() + me, int64_t{0});
      const auto of_rank = [&](int rank) { return contribution(rank, total, 3, dtype); };
      const at::Tensor recv = at::empty({rows[me], 3}, dtype);
      throw_if_error(world.reduce_scatter(of_rank(me), rows, recv).wait());
      const at::Tensor expected = reduced(world.size(), ReduceOp::kSum, of_rank).narrow(0, start, rows[me]);
      ASSERT_TRUE(same_bits(recv, expected.contiguous())) << "rank " << me << " size " << size << " " << dtype;
    }
  }
}

void all_gather(Communicator& world) {
  for (const int64_t size : kSizes) {
    std::vector<int64_t> rows;
    std::vector<at::Tensor> expected;
    for (int rank = 0; rank < world.size(); ++rank) {
      rows.push_back(rows_between(rank, 1, size));
      expected.push_back(contribution(rank, rows.back(), 2, at::kBFloat16));
    }
    const at::Tensor expected_all = at::cat(expected);
    const at::Tensor recv = at::empty_like(expected_all);
    throw_if_error(world.all_gather(expected[world.rank()], recv, rows).wait());
    ASSERT_TRUE(same_bits(recv, expected_all)) << "rank " << world.rank() << " size " << size;
  }
}

void broadcast(Communicator& world) {
  for (int root = 0; root < world.size(); ++root) {
    for (const int64_t size : kSizes) {
      const at::Tensor values = contribution(world.rank(), size, 1, at::kInt);
      throw_if_error(world.broadcast(values, root).wait());
      ASSERT_TRUE(same_bits(values, contribution(root, size, 1, at::kInt))) << "root " << root << " size " << size;
    }
  }
}

// Every ordered pair, with different numbers of messages between them, in the order in which they were sent.
void send_and_recv(Communicator& world) {
  const int me = world.rank();
  std::vector<Work> works;
  std::vector<std::pair<at::Tensor, at::Tensor>> received;
  for (int peer = 0; peer < world.size(); ++peer) {
    if (peer == me) continue;
    for (int i = 0; i <= peer; ++i) works.push_back(world.send(contribution(me, 37 * i, 1, at::kFloat, i), peer));
    for (int i = 0; i <= me; ++i) {
      received.emplace_back(at::empty({37 * i, 1}, at::kFloat), contribution(peer, 37 * i, 1, at::kFloat, i));
      works.push_back(world.recv(received.back().first, peer));
    }
  }
  for (Work& work : works) throw_if_error(work.wait());
  for (const auto& [actual, expected] : received) ASSERT_TRUE(same_bits(actual, expected));
}

// Many calls of every kind at once, waited for in the reverse order; results must not mix.
void overlapping_calls(Communicator& world) {
  constexpr int kCalls = 12;
  const int me = world.rank(), ranks = world.size();
  const std::vector<int64_t> one_each(ranks, 1000);
  std::vector<Work> works;
  std::vector<std::pair<at::Tensor, at::Tensor>> results;
  for (int call = 0; call < kCalls; ++call) {
    const auto of_rank = [&](int rank) { return contribution(rank, 4001, 1, at::kFloat, call); };
    results.emplace_back(of_rank(me), reduced(ranks, ReduceOp::kSum, of_rank));
    works.push_back(world.all_reduce(results.back().first, ReduceOp::kSum));

    std::vector<at::Tensor> all;
    for (int rank = 0; rank < ranks; ++rank) all.push_back(contribution(rank, 1000, 1, at::kFloat, -call));
    results.emplace_back(at::empty({1000 * ranks, 1}), at::cat(all));
    works.push_back(world.all_gather(all[me], results.back().first, one_each));

    results.emplace_back(contribution(me, 50, 1, at::kFloat, call),
                         contribution(call % ranks, 50, 1, at::kFloat, call));
    works.push_back(world.broadcast(results.back().first, call % ranks));
    works.push_back(world.barrier());
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) throw_if_error(work->wait());
  for (const auto& [actual, expected] : results) ASSERT_TRUE(same_bits(actual, expected));
}

void dropped_works_still_complete(Communicator& world) {
  const at::Tensor values = at::ones({5000});
  { const Work dropped = world.all_reduce(values, ReduceOp::kSum); }
  // Completes everywhere after the first, since it needs all ranks; the first is then only a matter of time.
  Work after = world.all_reduce(at::ones({1}), ReduceOp::kSum);
  throw_if_error(after.wait());
  throw_if_error(world.barrier().wait());
}

void split_into_groups(Communicator& world) {
  const int me = world.rank();
  // Odd and even ranks, each in reverse order.
  const auto half = value_or_throw(world.split(me % 2, -me, me % 2 == 0 ? "even" : "odd"));
  const int members = (world.size() + 1 - me % 2) / 2;
  ASSERT_EQ(half->size(), members);
  ASSERT_EQ(half->rank(), members - 1 - me / 2);
  EXPECT_EQ(half->name(), me % 2 == 0 ? "even" : "odd");
  for (int rank = 0; rank < members; ++rank) {
    EXPECT_EQ(half->node_of(rank), world.node_of((members - 1 - rank) * 2 + me % 2));
  }
  // Groups of the same ranks do not hear each other's calls.
  const auto again = value_or_throw(half->split(0, half->rank(), "again"));
  const at::Tensor a = at::full({1}, me, at::kLong), b = at::full({1}, 100 * me, at::kLong);
  Work in_half = half->all_reduce(a, ReduceOp::kSum);
  Work in_again = again->all_reduce(b, ReduceOp::kSum);
  throw_if_error(in_again.wait());
  throw_if_error(in_half.wait());
  int64_t sum = 0;
  for (int rank = me % 2; rank < world.size(); rank += 2) sum += rank;
  EXPECT_EQ(a.item<int64_t>(), sum);
  EXPECT_EQ(b.item<int64_t>(), 100 * sum);
}

void late_peer_is_named(Communicator& world) {
  if (world.size() == 1) return;
  // A group of its own: after a failure it can only be given up.
  const auto group = value_or_throw(world.split(0, world.rank(), "doomed"));
  throw_if_error(group->barrier().wait());
  const int late = world.size() - 1;
  if (world.rank() != late) {
    const at::Tensor values = at::ones({100'000});
    const absl::Status status = group->all_reduce(values, ReduceOp::kSum, absl::Milliseconds(300)).wait();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(error_category(status), ErrorCategory::kCommunication);
    const std::string message(status.message());
    for (const std::string& part :
         {"rank " + std::to_string(world.rank()) + " of " + std::to_string(world.size()), std::string("'doomed'"),
          std::string("all_reduce #1"), std::string("runtime/comm/bodies.cpp:"), std::string("timed out after 300ms"),
          "nothing came from rank " + std::to_string(late) + " ("}) {
      EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
    }
  }
  throw_if_error(world.barrier().wait());
}

void other_sizes_are_errors(Communicator& world) {
  if (world.size() == 1) return;
  const auto group = value_or_throw(world.split(0, world.rank(), "mismatch"));
  // Rank 0 tells two elements where the others expect one or three.
  for (const int64_t expected : {1, 3}) {
    const at::Tensor values = at::ones({group->rank() == 0 ? 2 : expected});
    if (group->rank() == 0) {
      (void)group->send(values, 1).wait();
    } else if (group->rank() == 1) {
      const absl::Status status = group->recv(values, 0).wait();
      ASSERT_FALSE(status.ok());
      EXPECT_EQ(error_category(status), ErrorCategory::kCommunication);
      EXPECT_NE(status.message().find(absl::string_view("from rank 0")), absl::string_view::npos) << status.message();
    }
  }
  throw_if_error(world.barrier().wait());
}

// done() does not move an operation on, so it can only become true by somebody else's doing.
void progresses_while_the_rank_computes(Communicator& world) {
  const at::Tensor values = at::ones({1 << 20});
  Work work = world.all_reduce(values, ReduceOp::kSum);
  const at::Tensor matrix = at::ones({64, 64});
  const absl::Time give_up = absl::Now() + absl::Minutes(1);
  while (!work.done() && absl::Now() < give_up) at::mm(matrix, matrix);
  ASSERT_TRUE(work.done());
  throw_if_error(work.wait());
  EXPECT_TRUE((values == world.size()).all().item<bool>());
}

// Every rank writes into a matrix of every other, where that one told it to; twice, in memory that was given back.
void memory_of_a_host(Communicator& world) {
  const auto memory = value_or_throw(SharedMemory::create(world));
  const std::vector<int64_t> ones(world.size(), 1);
  for (const int64_t width : {5, 2048}) {
    const at::Tensor mine = memory->allocate(2 * world.size(), width, at::kInt);
    const at::Tensor rows = at::empty({world.size()}, at::kLong);
    throw_if_error(world.all_gather(at::full({1}, memory->row_of(mine), at::kLong), rows, ones).wait());
    const at::Tensor all = memory->all(width, at::kInt);
    for (int r = 0; r < world.size(); ++r) {
      all.narrow(0, rows[r].item<int64_t>() + 2 * world.rank(), 2).fill_(100 * r + world.rank());
    }
    throw_if_error(world.barrier().wait());
    for (int r = 0; r < world.size(); ++r) {
      EXPECT_TRUE(mine.narrow(0, 2 * r, 2).eq(100 * world.rank() + r).all().item<bool>()) << "from rank " << r;
    }
    throw_if_error(world.barrier().wait());
  }
}

}  // namespace

const std::vector<Body>& bodies() {
  static const std::vector<Body> all = {
      {"all_to_all", all_to_all},
      {"all_reduce", all_reduce},
      {"all_reduce_of_a_scalar_and_nan", all_reduce_of_a_scalar_and_nan},
      {"all_reduce_has_the_same_bits_whatever_the_size", all_reduce_has_the_same_bits_whatever_the_size},
      {"reduce_scatter", reduce_scatter},
      {"all_gather", all_gather},
      {"broadcast", broadcast},
      {"send_and_recv", send_and_recv},
      {"overlapping_calls", overlapping_calls},
      {"dropped_works_still_complete", dropped_works_still_complete},
      {"split_into_groups", split_into_groups},
      {"memory_of_a_host", memory_of_a_host},
      {"late_peer_is_named", late_peer_is_named},
      {"other_sizes_are_errors", other_sizes_are_errors},
      {"progresses_while_the_rank_computes", progresses_while_the_rank_computes},
  };
  return all;
}

}  // namespace switchyard
