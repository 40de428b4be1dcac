#include "launch/data/indexed_dataset.h"

#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/data/indexed_writer.h"
#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

// Written by tests/golden/make_indexed_dataset.py.
const std::filesystem::path kGolden = SWITCHYARD_GOLDEN;

std::vector<int64_t> document(const IndexedDataset& data, int64_t d) {
  std::vector<int64_t> tokens(static_cast<size_t>(data.document_tokens(d)));
  data.read(data.document_begin(d), data.document_tokens(d), tokens.data());
  return tokens;
}

TEST(IndexedDataset, ReadsEveryTypeOfTheGolden) {
  const auto expected = nlohmann::json::parse(read_text(kGolden / "expected.json"));
  EXPECT_EQ(expected.size(), 8u);
  for (const auto& [name, documents] : expected.items()) {
    SCOPED_TRACE(name);
    const auto data = IndexedDataset::open((kGolden / name).string());
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ(data->documents(), static_cast<int64_t>(documents.size()));
    int64_t tokens = 0;
    for (int64_t d = 0; d < data->documents(); ++d) {
      EXPECT_EQ(document(*data, d), documents[static_cast<size_t>(d)].get<std::vector<int64_t>>()) << "document " << d;
      tokens += data->document_tokens(d);
    }
    EXPECT_EQ(data->tokens(), tokens);
  }
}

TEST(IndexedDataset, WritesTheBytesOfTheGolden) {
  const TemporaryFolder folder;
  const auto expected = nlohmann::json::parse(read_text(kGolden / "expected.json"));
  for (const auto& [name, vocabulary] : {std::pair("flat_u16", 65499), {"flat_i32", 65500}}) {
    SCOPED_TRACE(name);
    auto writer = IndexedWriter::create((folder / name).string(), vocabulary);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& tokens : expected[name])
      ASSERT_TRUE(writer->add_document(tokens.get<std::vector<int32_t>>()).ok());
    EXPECT_FALSE(std::filesystem::exists(folder / (std::string(name) + ".bin"))) << "visible before commit";
    ASSERT_TRUE(writer->commit().ok());
    for (const char* extension : {".bin", ".idx"}) {
      const std::string file = std::string(name) + extension;
      EXPECT_EQ(read_text(folder / file), read_text(kGolden / file)) << file;
    }
  }
}

TEST(IndexedDataset, LargeDataSetsComeBack) {
  const TemporaryFolder folder;
  std::vector<int64_t> lengths;
  for (int64_t d = 0; d < 70000; ++d) lengths.push_back(d % 13);  // the index is written in several buffers
  const auto data = IndexedDataset::open(write_documents(folder / "many", lengths));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->documents(), 70000);
  for (int64_t d = 0; d < data->documents(); d += 997) {
    ASSERT_EQ(data->document_tokens(d), d % 13);
    if (d % 13 > 0) {
      EXPECT_EQ(document(*data, d).back(), 1000 * d + d % 13 - 1);
    }
  }
}

TEST(IndexedDataset, FingerprintsTellDataSetsApart) {
  const TemporaryFolder folder;
  const auto a = value_or_throw(IndexedDataset::open(write_documents(folder / "a", {3, 4})));
  const auto same = value_or_throw(IndexedDataset::open(write_documents(folder / "b", {3, 4})));
  const auto other = value_or_throw(IndexedDataset::open(write_documents(folder / "c", {4, 3})));
  EXPECT_EQ(a.fingerprint(), same.fingerprint());
  EXPECT_NE(a.fingerprint(), other.fingerprint());
}

class BadIndex : public testing::Test {
 protected:
  // The u16 golden: 8 sequences, 6 documents; arrays at 34, 34 + 32, 34 + 96.
  void SetUp() override {
    idx_ = read_text(kGolden / "u16.idx");
    bin_bytes_ = static_cast<int64_t>(read_text(kGolden / "u16.bin").size());
  }
  template <typename T>
  void put(size_t at, T value) {
    std::memcpy(idx_.data() + at, &value, sizeof(T));
  }
  void expect(const std::string& part) {
    expect_error(parse_index(idx_, bin_bytes_, "some/data").status(), ErrorCategory::kBadData, {"some/data.idx", part});
  }

  std::string idx_;
  int64_t bin_bytes_ = 0;
};

TEST_F(BadIndex, TheGoldenIsGood) {
  EXPECT_TRUE(parse_index(idx_, bin_bytes_, "x").ok());
}

TEST_F(BadIndex, CutAnywhere) {
  for (size_t size = 0; size < idx_.size(); ++size) {
    const auto view = parse_index(std::string_view(idx_).substr(0, size), bin_bytes_, "x");
    ASSERT_FALSE(view.ok()) << size;
    EXPECT_EQ(error_category(view.status()), ErrorCategory::kBadData);
  }
}

TEST_F(BadIndex, AnyByteChanged) {
  // A changed byte is found or changes nothing but how the tokens are read: it never reads outside the files.
  for (size_t at = 0; at < idx_.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\x7F'}) {
      std::string changed = idx_;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const auto view = parse_index(changed, bin_bytes_, "x");
      if (view.ok()) {
        EXPECT_EQ(view->tokens * token_bytes(view->type), bin_bytes_) << at;
      }
    }
  }
}

TEST_F(BadIndex, Header) {
  idx_[0] = 'X';
  expect("not an index");
  SetUp();
  put<uint64_t>(9, 2);
  expect("version 2");
  SetUp();
  for (const auto& [code, part] : {std::pair(0, "unknown token type 0"), {9, "type 9"}, {7, "floating-point"}}) {
    put<uint8_t>(17, static_cast<uint8_t>(code));
    expect(part);
  }
}

TEST_F(BadIndex, Sizes) {
  put<uint64_t>(18, uint64_t{1} << 63);
  expect("truncated");
  SetUp();
  put<uint64_t>(26, 0);
  expect("lacks the end");
  SetUp();
  idx_ += "1234567";
  expect("7 bytes after");
  SetUp();
  bin_bytes_ -= 2;
  expect("truncated or belongs to another");
  bin_bytes_ += 4;
  expect("do not belong together");
}

TEST_F(BadIndex, Arrays) {
  put<int32_t>(34, -4);
  expect("sequence 0 has length -4");
  SetUp();
  put<int64_t>(34 + 32 + 8, 1);
  expect("sequence 1 begins at byte 1 where 8 is due");
  SetUp();
  put<int64_t>(34 + 96, 1);
  expect("document 0 begins at sequence 1");
  SetUp();
  put<int64_t>(34 + 96 + 16, 0);
  expect("document 2 begins at sequence 0");
  SetUp();
  put<int64_t>(34 + 96 + 48, 9);
  expect("document 6 begins at sequence 9 of 8");
  SetUp();
  put<int64_t>(34 + 96 + 48, 7);
  expect("end at sequence 7 of 8");
}

TEST(IndexedDatasetFiles, MissingOnes) {
  const TemporaryFolder folder;
  const std::string prefix = write_documents(folder / "d", {3});
  std::filesystem::remove(prefix + ".bin");
  expect_error(IndexedDataset::open(prefix).status(), ErrorCategory::kMissingInput, {"d.bin"});
  std::filesystem::remove(prefix + ".idx");
  expect_error(IndexedDataset::open(prefix).status(), ErrorCategory::kMissingInput, {"d.idx"});
  expect_error(IndexedWriter::create((folder / "no/such/d").string(), 10).status(), ErrorCategory::kMissingInput,
               {"no/such/d"});
}

TEST(IndexedDatasetFiles, NothingIsLeftWithoutCommit) {
  const TemporaryFolder folder;
  {
    auto writer = value_or_throw(IndexedWriter::create((folder / "d").string(), 10));
    ASSERT_TRUE(writer.add_document(std::vector<int32_t>{1, 2}).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace switchyard
