#include "runtime/storage/checksum.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

// From xxHash's own sanity test (cli/xsum_sanity_check.c): its generated buffer, seed 0.
TEST(Checksum, IsXxh3) {
  std::vector<unsigned char> buffer(2367);
  uint64_t generator = 2654435761U;
  for (unsigned char& byte : buffer) {
    byte = static_cast<unsigned char>(generator >> 56);
    generator *= 11400714785074694797ULL;
  }
  EXPECT_EQ(checksum(buffer.data(), 0), 0x2D06800538D394C2ULL);
  EXPECT_EQ(checksum(buffer.data(), 1), 0xC44BDFF4074EECDBULL);
  EXPECT_EQ(checksum(buffer.data(), 2367), 0xCB37AEB9E5D361EDULL);
}

TEST(Checksum, SurvivesItsText) {
  EXPECT_EQ(checksum_text(0x0123456789abcdefULL), "0123456789abcdef");
  EXPECT_EQ(checksum_text(7), "0000000000000007");
  EXPECT_EQ(parse_checksum("0123456789abcdef"), 0x0123456789abcdefULL);
  EXPECT_EQ(parse_checksum("123456789abcdef"), std::nullopt);
  EXPECT_EQ(parse_checksum("0123456789ABCDEF"), std::nullopt);
}

TEST(Checksum, CountsChunks) {
  EXPECT_EQ(chunk_count(0), 0);
  EXPECT_EQ(chunk_count(1), 1);
  EXPECT_EQ(chunk_count(kChunkBytes), 1);
  EXPECT_EQ(chunk_count(kChunkBytes + 1), 2);
}

}  // namespace
}  // namespace switchyard
