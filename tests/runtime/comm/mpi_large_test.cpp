// Messages that don't fit an int's worth of bytes. Peak memory is about 4.5 GiB over the two ranks.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "runtime/base/status.h"
#include "tests/support/mpi_world.h"

namespace switchyard {
namespace {

constexpr int64_t kWords = (int64_t{1} << 28) + 513;

// A value for each word that no shift by a part's length leaves as it is.
void fill(const at::Tensor& tensor, int64_t salt) {
  int64_t* data = tensor.data_ptr<int64_t>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = i * 3 + salt;
}

int64_t wrong_words(const at::Tensor& tensor, int64_t salt) {
  const int64_t* data = tensor.data_ptr<int64_t>();
  int64_t wrong = 0;
  for (int64_t i = 0; i < tensor.numel(); ++i) wrong += data[i] != i * 3 + salt;
  return wrong;
}

TEST(MpiLarge, AllToAllOfMoreThanTwoToThe31Bytes) {
  Communicator& world = mpi_world();
  ASSERT_EQ(world.size(), 2);
  // Nearly everything goes one way; a little comes back.
  const bool sender = world.rank() == 0;
  const at::Tensor send = at::empty({sender ? kWords : 7}, at::kLong);
  const at::Tensor recv = at::empty({sender ? 7 : kWords}, at::kLong);
  fill(send, world.rank());
  const std::vector<int64_t> send_rows = sender ? std::vector<int64_t>{0, kWords} : std::vector<int64_t>{7, 0};
  const std::vector<int64_t> recv_rows = sender ? std::vector<int64_t>{0, 7} : std::vector<int64_t>{kWords, 0};
  throw_if_error(world.all_to_all(send, send_rows, recv, recv_rows).wait());
  EXPECT_EQ(wrong_words(recv, 1 - world.rank()), 0);
}

// Exactly one part: the empty part that closes it must be matched too, or the next message would be.
TEST(MpiLarge, MessageOfExactlyOnePart) {
  Communicator& world = mpi_world();
  const at::Tensor part = at::zeros({int64_t{1} << 27}, at::kLong);
  const at::Tensor after = at::full({1}, 42 + world.rank(), at::kLong);
  if (world.rank() == 0) fill(part, 0);
  throw_if_error(world.broadcast(part, 0).wait());
  throw_if_error(world.broadcast(after, 0).wait());
  EXPECT_EQ(wrong_words(part, 0), 0);
  EXPECT_EQ(after.item<int64_t>(), 42);
}

}  // namespace
}  // namespace switchyard
