#include "runtime/storage/safetensors.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Written by the PyPI package: see tests/golden/make_safetensors.py.
const std::filesystem::path kGolden = std::filesystem::path(SWITCHYARD_GOLDEN) / "small.safetensors";

template <typename T>
std::vector<T> values(const SafetensorsReader& reader, const std::string& name, Dtype dtype,
                      const std::vector<int64_t>& shape) {
  const auto entry = reader.find(name);
  EXPECT_TRUE(entry.ok()) << entry.status();
  EXPECT_EQ((*entry)->dtype, dtype);
  EXPECT_EQ((*entry)->shape, shape);
  std::vector<T> out(((*entry)->end - (*entry)->begin) / sizeof(T));
  const absl::Status status = reader.read(**entry, out.data());
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(Safetensors, ReadsTheGolden) {
  const auto reader = SafetensorsReader::open(kGolden);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->entries().size(), 10U);
  EXPECT_EQ(reader->metadata().at("snowman"), "\u2603");
  EXPECT_THAT(values<float>(*reader, "weight", Dtype::kF32, {2, 3}), ElementsAre(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5));
  EXPECT_THAT(values<double>(*reader, "double", Dtype::kF64, {3}), ElementsAre(1.0 / 3, -2.0 / 3, 1e300));
  EXPECT_THAT(values<uint16_t>(*reader, "half", Dtype::kF16, {3}), ElementsAre(0x3800, 0xbe00, 0x7bff));
  EXPECT_THAT(values<uint16_t>(*reader, "bfloat", Dtype::kBF16, {2, 2}), ElementsAre(0x3f80, 0xc020, 0x7f7f, 1));
  EXPECT_THAT(values<int64_t>(*reader, "long", Dtype::kI64, {3}), ElementsAre(INT64_MIN, 0, INT64_MAX));
  EXPECT_THAT(values<int32_t>(*reader, "int", Dtype::kI32, {2, 1}), ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(values<uint8_t>(*reader, "byte", Dtype::kU8, {3}), ElementsAre(0, 127, 255));
  EXPECT_THAT(values<uint8_t>(*reader, "flag", Dtype::kBool, {2}), ElementsAre(1, 0));
  EXPECT_THAT(values<float>(*reader, "scalar", Dtype::kF32, {}), ElementsAre(42));
  EXPECT_THAT(values<float>(*reader, "empty", Dtype::kF32, {0, 5}), ElementsAre());
}

TEST(Safetensors, ReadsByteRanges) {
  const auto reader = SafetensorsReader::open(kGolden);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::array<float, 2> middle;
  ASSERT_TRUE(reader->read(**reader->find("weight"), 8, middle.data(), 8).ok());
  EXPECT_THAT(middle, ElementsAre(-0.5, 0.5));
  EXPECT_THROW((void)reader->read(**reader->find("weight"), 20, middle.data(), 8), CheckError);
  EXPECT_EQ(error_category(reader->find("other").status()), ErrorCategory::kMissingInput);
}

// What is read from the package's file and written by our writer is the package's file, byte for byte.
TEST(Safetensors, WritesTheGolden) {
  TemporaryFolder folder;
  const auto reader = SafetensorsReader::open(kGolden);
  ASSERT_TRUE(reader.ok()) << reader.status();
  auto writer = SafetensorsWriter::create(folder / "copy.safetensors", reader->entries(), reader->metadata());
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const StoredEntry& entry : reader->entries()) {
    std::vector<char> data(entry.end - entry.begin);
    ASSERT_TRUE(reader->read(entry, data.data()).ok());
    ASSERT_TRUE(writer->write(data.data(), entry.end - entry.begin).ok());
  }
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_EQ(*read_text_file(folder / "copy.safetensors", 1 << 20), *read_text_file(kGolden, 1 << 20));
}

TEST(Safetensors, RefusesDamage) {
  TemporaryFolder folder;
  const std::string good = *read_text_file(kGolden, 1 << 20);
  const auto status_of = [&](const std::string& content) {
    std::ofstream(folder / "x.safetensors", std::ios::binary) << content;
    return SafetensorsReader::open(folder / "x.safetensors").status();
  };
  ASSERT_TRUE(status_of(good).ok());
  for (size_t length = 0; length < good.size(); ++length) {
    const absl::Status status = status_of(good.substr(0, length));
    ASSERT_EQ(error_category(status), ErrorCategory::kBadData) << "cut after " << length << " bytes: " << status;
    ASSERT_THAT(std::string(status.message()), HasSubstr("x.safetensors"));
  }
  EXPECT_EQ(error_category(status_of(good + "x")), ErrorCategory::kBadData);
  std::string huge = good;
  huge[4] = 1;  // a header of 4 GiB
  EXPECT_THAT(std::string(status_of(huge).message()), HasSubstr("its header would have"));
  EXPECT_EQ(error_category(SafetensorsReader::open(folder / "none").status()), ErrorCategory::kMissingInput);
}

TEST(Safetensors, UnfinishedFileDoesNotAppear) {
  TemporaryFolder folder;
  {
    StoredEntry entry;
    entry.name = "a";
    entry.shape = {4};
    auto writer = SafetensorsWriter::create(folder / "a.safetensors", {entry});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(writer->write("12345678", 8).ok());
    EXPECT_THROW((void)writer->commit(), CheckError);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace switchyard
