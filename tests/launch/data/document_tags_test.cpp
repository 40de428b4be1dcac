// Tags from the input to the tokens of a batch.
#include "launch/data/document_tags.h"

#include <filesystem>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "launch/data/batch_loader.h"
#include "launch/data/description.h"
#include "launch/data/indexed_dataset.h"
#include "launch/data/prepare.h"
#include "launch/data/sequence_source.h"
#include "launch/data/tokenizer.h"
#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

class DocumentTagsTest : public testing::Test {
 protected:
  PrepareOptions options(const std::string& format) const {
    PrepareOptions given;
    given.inputs = {(folder_ / "in").string()};
    given.output = (folder_ / "d").string();
    given.format = format;
    given.tokenizer = write_text(
        folder_ / "t.model",
        value_or_throw(Tokenizer::train({"kalo miren tushi", "vor elan qui doseth", "lo ka an el"}, 300, 0.9995))
            .bytes());
    return given;
  }
  std::vector<int64_t> tags(const std::string& prefix) const {
    const int64_t documents = value_or_throw(IndexedDataset::open(prefix)).documents();
    const auto found = value_or_throw(DocumentTags::open(prefix, documents));
    std::vector<int64_t> all;
    for (int64_t d = 0; found && d < documents; ++d) all.push_back((*found)[d]);
    return all;
  }
  static std::vector<std::string> names(const std::string& prefix) {
    return value_or_throw(read_description(prefix))->tags;
  }

  const TemporaryFolder folder_;
};

TEST_F(DocumentTagsTest, FoldersFilesAndLinesTagDocuments) {
  for (const char* name : {"in/de/a", "in/de/b", "in/en/c"}) write_text(folder_ / name, "kalo miren tushi");
  PrepareOptions given = options("text");
  given.tag_by = "folder";
  given.max_length = 5;  // pieces of a document carry its tag
  ASSERT_TRUE(prepare(given).ok());
  EXPECT_EQ(names(given.output), (std::vector<std::string>{"de", "en"}));
  const std::vector<int64_t> cut = tags(given.output);
  EXPECT_GT(cut.size(), 3u);
  EXPECT_EQ(cut.front(), 0);
  EXPECT_EQ(cut.back(), 1);

  given.tag_by = "file";
  given.max_length = 0;
  ASSERT_TRUE(prepare(given).ok());
  EXPECT_EQ(names(given.output), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(tags(given.output), (std::vector<int64_t>{0, 1, 2}));

  given.tag_by = "";
  ASSERT_TRUE(prepare(given).ok());
  EXPECT_FALSE(std::filesystem::exists(given.output + ".tags")) << "what was there is of other data";

  std::filesystem::remove_all(folder_ / "in");
  write_text(folder_ / "in/x.jsonl",
             "{\"text\": \"kalo\", \"tag\": \"x\"}\n{\"text\": \"miren\"}\n{\"text\": \"tushi\", \"tag\": \"y\"}");
  given.format = "jsonl";
  ASSERT_TRUE(prepare(given).ok());
  EXPECT_EQ(tags(given.output), (std::vector<int64_t>{0, -1, 1}));
  write_text(folder_ / "in/x.jsonl", "{\"text\": \"kalo\", \"tag\": 3}");
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"x.jsonl: line 1", "its \"tag\" is not a string"});
  given.tag_by = "file";
  expect_error(prepare(given).status(), ErrorCategory::kUsage, {"--tag-by"});
}

TEST_F(DocumentTagsTest, EveryTokenOfABatchHasItsDocumentsTag) {
  const std::string prefix = write_documents(folder_ / "d", {7, 30, 11, 24});
  throw_if_error(write_tags(prefix, std::vector<int32_t>{2, 0, -1, 1}));
  auto source = value_or_throw(open_sequences(prefix, {.sequence = 8, .vocabulary = 1 << 30, .seed = 3}));
  EXPECT_EQ(source->tags(), 3);
  BatchLoader loader(std::move(source), {.global_batch = 4});
  const TokenBatch batch = value_or_throw(loader.load(0, 0));
  ASSERT_TRUE(batch.tags.defined());
  const int64_t expected[] = {2, 0, -1, 1};
  for (int64_t i = 0; i < batch.tokens.numel(); ++i) {
    const int64_t document = batch.tokens[i].item<int64_t>() / 1000;
    EXPECT_EQ(batch.tags[i].item<int64_t>(), expected[document]);
  }

  const std::string plain = write_documents(folder_ / "plain", {40});
  auto without = value_or_throw(open_sequences(plain, {.sequence = 8, .vocabulary = 1 << 30}));
  EXPECT_EQ(without->tags(), 0);
  BatchLoader untagged(std::move(without), {.global_batch = 2});
  EXPECT_FALSE(value_or_throw(untagged.load(0, 0)).tags.defined());
}

TEST_F(DocumentTagsTest, TagsOfOtherDataAndDamageAreRefused) {
  const std::string prefix = write_documents(folder_ / "d", {7, 30});
  throw_if_error(write_tags(prefix, std::vector<int32_t>{0, 1, 1}));
  const auto open = [&] { return open_sequences(prefix, {.sequence = 8, .vocabulary = 1 << 30}).status(); };
  expect_error(open(), ErrorCategory::kBadData, {"d.tags", "says 3 documents", "d.idx has 2"});
  write_text(prefix + ".tags", "nonsense");
  expect_error(open(), ErrorCategory::kBadData, {"d.tags: is not a file of tags"});
  throw_if_error(write_tags(prefix, std::vector<int32_t>{0, -2}));
  expect_error(open(), ErrorCategory::kBadData, {"document 1 has tag -2"});
}

}  // namespace
}  // namespace switchyard
