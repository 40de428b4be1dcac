#include "launch/data/prepare.h"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>

#include "launch/data/description.h"
#include "launch/data/indexed_dataset.h"
#include "launch/data/ordered_workers.h"
#include "launch/data/tokenizer.h"
#include "launch/data/unigram.h"
#include "tests/launch/data/corpus_testing.h"
#include "tests/launch/data/data_testing.h"
#include "tests/support/small_disk.h"

namespace switchyard {
namespace {

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() {
    for (int i = 0; i < 40; ++i) {
      texts_.push_back(made_up_text(i, 20 + 5 * i));
      write_text(folder_ / ("in/" + std::to_string(100 + i) + ".txt"), texts_.back());
    }
    write_text(folder_ / "in/900-empty.txt", "");
  }

  // With a tokenizer to train.
  PrepareOptions training_options(const std::string& output) const {
    PrepareOptions result;
    result.inputs = {(folder_ / "in").string()};
    result.output = (folder_ / output).string();
    result.vocabulary_size = 400;
    return result;
  }
  // With a tokenizer that is there.
  PrepareOptions options(const std::string& output) const {
    PrepareOptions result = training_options(output);
    result.tokenizer = write_text(folder_ / "t.model", shared_tokenizer().bytes());
    return result;
  }
  static const Tokenizer& shared_tokenizer() {
    static const Tokenizer tokenizer =
        value_or_throw(Tokenizer::train({"kalo miren tushi", "vor elan qui doseth", "lo ka an el"}, 300, 0.9995));
    return tokenizer;
  }

  static std::vector<int32_t> tokens(const IndexedDataset& data, int64_t d) {
    std::vector<int64_t> wide(static_cast<size_t>(data.document_tokens(d)));
    data.read(data.document_begin(d), data.document_tokens(d), wide.data());
    return {wide.begin(), wide.end()};
  }

  // Texts of all documents, each of which must end with </s>.
  static std::vector<std::string> decode(const std::string& prefix, const Tokenizer& tokenizer) {
    const auto data = value_or_throw(IndexedDataset::open(prefix));
    std::vector<std::string> texts;
    for (int64_t d = 0; d < data.documents(); ++d) {
      const auto ids = tokens(data, d);
      EXPECT_EQ(ids.back(), tokenizer.end_of_document());
      texts.push_back(value_or_throw(tokenizer.decode(ids)));
    }
    return texts;
  }

  // How often each token occurs.
  static std::vector<int64_t> counts(const std::string& prefix, const Tokenizer& tokenizer) {
    const auto data = value_or_throw(IndexedDataset::open(prefix));
    std::vector<int64_t> result(static_cast<size_t>(tokenizer.vocabulary_size()));
    for (int64_t d = 0; d < data.documents(); ++d) {
      for (const int32_t token : tokens(data, d)) ++result[static_cast<size_t>(token)];
    }
    return result;
  }

  std::vector<std::string> outputs() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "out")) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  const TemporaryFolder folder_;
  std::vector<std::string> texts_;
};

TEST_F(PrepareTest, TextComesBackFromTheTokens) {
  PrepareOptions given = training_options("out/d");
  std::vector<std::string> stages;
  int64_t last_read = 0, last_tokens = 0;
  given.progress = [&](const PrepareProgress& progress) {
    if (stages.empty() || stages.back() != progress.stage) stages.push_back(progress.stage);
    EXPECT_LE(progress.bytes_read, progress.bytes_total);
    last_read = progress.bytes_read;
    last_tokens = progress.tokens;
  };
  const auto report = prepare(given);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto tokenizer = value_or_throw(Tokenizer::load(given.output + ".model"));
  EXPECT_EQ(decode(given.output, tokenizer), texts_);

  int64_t bytes = 0;
  for (const std::string& text : texts_) bytes += static_cast<int64_t>(text.size());
  EXPECT_EQ(report->documents, 40);
  EXPECT_EQ(report->text_bytes, bytes);
  EXPECT_EQ(report->vocabulary_size, 400);
  EXPECT_EQ(report->tokenizer, given.output + ".model");
  EXPECT_EQ(stages.size(), 3u);
  EXPECT_EQ(last_read, bytes);
  EXPECT_EQ(last_tokens, report->tokens);
  EXPECT_EQ(outputs(), (std::vector<std::string>{"d.bin", "d.idx", "d.json", "d.model"}));

  const auto description = value_or_throw(read_description(given.output));
  ASSERT_TRUE(description.has_value());
  EXPECT_EQ(description->documents, 40);
  EXPECT_EQ(description->tokens, report->tokens);
  EXPECT_EQ(description->vocabulary_size, 400);
  EXPECT_EQ(description->tokenizer, "d.model");
  EXPECT_EQ(description->tokenizer_hash, tokenizer.hash());
  EXPECT_EQ(description->inputs, given.inputs);
}

TEST_F(PrepareTest, TheSameBytesAgainOnAnyNumberOfThreads) {
  std::vector<std::string> first;
  for (const int64_t threads : {1, 1, 2, 5}) {
    PrepareOptions given = training_options("out/d");
    given.validation_fraction = 0.2;
    given.threads = threads;
    const auto report = prepare(given);
    ASSERT_TRUE(report.ok()) << report.status();
    std::vector<std::string> contents;
    for (const std::string& name : outputs()) contents.push_back(name + read_text(folder_ / ("out/" + name)));
    EXPECT_EQ(contents.size(), 7u);
    if (first.empty()) first = contents;
    EXPECT_TRUE(contents == first) << threads << " threads";
  }
}

TEST_F(PrepareTest, HeldOutDocumentsAreInOneSideOnly) {
  // Copies of a document go where it goes.
  for (int i = 0; i < 40; ++i) write_text(folder_ / ("in/5" + std::to_string(100 + i)), texts_[static_cast<size_t>(i)]);
  PrepareOptions given = options("out/d");
  given.validation_fraction = 0.3;
  const auto report = prepare(given);
  ASSERT_TRUE(report.ok()) << report.status();
  const Tokenizer& tokenizer = shared_tokenizer();
  auto training = decode(given.output, tokenizer);
  auto held_out = decode(given.output + ".validation", tokenizer);
  EXPECT_EQ(static_cast<int64_t>(training.size()), report->documents);
  EXPECT_EQ(static_cast<int64_t>(held_out.size()), report->validation_documents);
  EXPECT_EQ(training.size() + held_out.size(), 80u);
  EXPECT_GT(held_out.size(), 8u);
  EXPECT_LT(held_out.size(), 44u);
  for (const std::string& text : held_out) EXPECT_EQ(std::count(training.begin(), training.end(), text), 0);

  const std::vector<int64_t> t = counts(given.output, tokenizer), h = counts(given.output + ".validation", tokenizer);
  ASSERT_TRUE(report->unigram_loss.has_value());
  EXPECT_NEAR(*report->unigram_loss, unigram_loss(t, h), 1e-12);
  const auto description = value_or_throw(read_description(given.output + ".validation"));
  ASSERT_TRUE(description.has_value() && description->unigram_loss.has_value());
  EXPECT_EQ(*description->unigram_loss, *report->unigram_loss);
  EXPECT_FALSE(value_or_throw(read_description(given.output))->unigram_loss.has_value());
  EXPECT_TRUE(check_tokenizer(given.output + ".validation", tokenizer.hash()).ok());
}

TEST_F(PrepareTest, AGivenTokenizerAndOtherFormats) {
  const auto first = prepare(training_options("out/d"));
  ASSERT_TRUE(first.ok()) << first.status();
  std::string lines;
  for (const std::string& text : texts_) {
    lines += "{\"text\": \"";
    for (const char c : text) lines += c == '\n' ? std::string("\\n") : std::string(1, c);
    lines += "\"}\n";
  }
  PrepareOptions given;
  given.inputs = {write_text(folder_ / "lines.jsonl", lines)};
  given.format = "jsonl";
  given.tokenizer = first->tokenizer;
  given.output = (folder_ / "out/e").string();
  const auto report = prepare(given);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->tokenizer, first->tokenizer);
  EXPECT_EQ(report->vocabulary_size, 400);
  EXPECT_FALSE(std::filesystem::exists(given.output + ".model"));
  EXPECT_EQ(read_text(given.output + ".bin"), read_text(folder_ / "out/d.bin"));
  EXPECT_EQ(read_text(given.output + ".idx"), read_text(folder_ / "out/d.idx"));
}

TEST_F(PrepareTest, LongDocumentsAreCutWithoutLoss) {
  const auto whole = prepare(options("out/d"));
  PrepareOptions given = options("out/e");
  given.max_length = 100;
  const auto report = prepare(given);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->documents, whole->documents);
  EXPECT_EQ(read_text(given.output + ".bin"), read_text(folder_ / "out/d.bin"));
  const auto data = value_or_throw(IndexedDataset::open(given.output));
  const auto before = value_or_throw(IndexedDataset::open((folder_ / "out/d").string()));
  int64_t d = 0;
  for (int64_t document = 0; document < before.documents(); ++document) {
    for (int64_t left = before.document_tokens(document); left > 0; left -= 100) {
      ASSERT_EQ(data.document_tokens(d++), std::min<int64_t>(left, 100));
    }
  }
  EXPECT_EQ(d, data.documents());
}

TEST_F(PrepareTest, ErrorsLeaveNothingNew) {
  ASSERT_TRUE(prepare(training_options("out/d")).ok());
  const std::string before = read_text(folder_ / "out/d.bin");
  write_text(folder_ / "in/500", "text \xFF");
  write_text(folder_ / "in/501", "text \xFE");
  for (const int64_t threads : {1, 4}) {
    for (PrepareOptions given : {training_options("out/d"), options("out/d")}) {
      given.threads = threads;
      expect_error(prepare(given).status(), ErrorCategory::kBadData, {"in/500", "byte 5", "UTF-8"});
    }
  }
  EXPECT_EQ(read_text(folder_ / "out/d.bin"), before);
  EXPECT_EQ(outputs(), (std::vector<std::string>{"d.bin", "d.idx", "d.json", "d.model"}));
}

TEST_F(PrepareTest, EmptyCorpora) {
  PrepareOptions given = training_options("out/d");
  std::filesystem::create_directories(folder_ / "nothing");
  given.inputs = {(folder_ / "nothing").string()};
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"no text", "--input"});
  given.inputs = {write_text(folder_ / "blank", "  \n\n")};
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"no text"});
  given = options("out/d");
  given.inputs = {(folder_ / "in/900-empty.txt").string()};
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"no documents"});
}

TEST_F(PrepareTest, ASideWithoutDocuments) {
  PrepareOptions given = options("out/d");
  given.validation_fraction = 1e-9;
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"none is left for validation"});
  given.validation_fraction = 0.999999;
  expect_error(prepare(given).status(), ErrorCategory::kBadData, {"none is left for training"});
}

TEST_F(PrepareTest, Usage) {
  const auto expect = [&](auto change, const std::string& part) {
    PrepareOptions given = options("out/d");
    change(given);
    expect_error(prepare(given).status(), ErrorCategory::kUsage, {part});
  };
  expect([](PrepareOptions& o) { o.inputs.clear(); }, "--input");
  expect([](PrepareOptions& o) { o.output.clear(); }, "--output");
  expect([](PrepareOptions& o) { o.format = "csv"; }, "--format");
  expect([](PrepareOptions& o) { o.max_length = -1; }, "--max-length");
  expect([](PrepareOptions& o) { o.vocabulary_size = 0; }, "--vocab-size");
  expect([](PrepareOptions& o) { o.validation_fraction = 1; }, "--validation-fraction");
  expect([](PrepareOptions& o) { o.validation_fraction = -0.1; }, "--validation-fraction");
}

TEST_F(PrepareTest, AFullDisk) {
  std::filesystem::create_directories(folder_ / "small");
  const SmallDisk disk(folder_ / "small", "64k");
  if (!disk.mounted()) GTEST_SKIP() << "this machine lets no test mount a file system";
  expect_error(prepare(options("small/d")).status(), ErrorCategory::kIo, {"small/d.bin", "No space left"});
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "small"));
}

TEST_F(PrepareTest, PathsThatAreNotThere) {
  PrepareOptions given = options("out/d");
  given.inputs.push_back((folder_ / "none").string());
  expect_error(prepare(given).status(), ErrorCategory::kMissingInput, {"none"});
  given = options("out/d");
  given.tokenizer = (folder_ / "none.model").string();
  expect_error(prepare(given).status(), ErrorCategory::kMissingInput, {"none.model"});
  given = options("in/100.txt/d");  // its folder is a file
  EXPECT_FALSE(prepare(given).ok());
}

TEST(UnigramLoss, AgainstAHandCount) {
  // Training a a a b, held out a b b c, where d occurs in neither: p = 4/8, 2/8, 1/8, 1/8, that is 1 + 2 + 2 + 3 bits.
  EXPECT_NEAR(unigram_loss(std::vector<int64_t>{3, 1, 0, 0}, std::vector<int64_t>{1, 2, 1, 0}), 2 * std::log(2.0),
              1e-15);
}

TEST(OrderedWorkers, KeepOrderAndStopAtTheFirstError) {
  for (const int64_t threads : {1, 2, 6}) {
    for (const int bad : {-1, 0, 37, 99}) {
      int next = 0;
      std::vector<int> consumed;
      OrderedWorkers<int, int> workers(
          [&]() -> absl::StatusOr<std::optional<int>> { return next < 100 ? std::optional(next++) : std::nullopt; },
          [&](int i) -> absl::StatusOr<int> {
            if (i >= bad && bad >= 0) return error(ErrorCategory::kBadData, std::to_string(i));
            return 2 * i;
          },
          [&](int i) {
            consumed.push_back(i);
            return absl::OkStatus();
          });
      const absl::Status status = workers.run(threads);
      ASSERT_EQ(status.ok(), bad < 0);
      if (bad >= 0) {
        EXPECT_EQ(status.message(), std::to_string(bad));
      }
      ASSERT_EQ(consumed.size(), bad < 0 ? 100u : static_cast<size_t>(bad));
      for (size_t i = 0; i < consumed.size(); ++i) EXPECT_EQ(consumed[i], 2 * static_cast<int>(i));
    }
  }
}

TEST(OrderedWorkers, ExceptionsArePassedOn) {
  for (const int64_t threads : {1, 3}) {
    int next = 0;
    OrderedWorkers<int, int> workers([&]() -> absl::StatusOr<std::optional<int>> { return std::optional(next++); },
                                     [&](int i) -> absl::StatusOr<int> {
                                       if (i == 20) throw std::bad_alloc();
                                       return i;
                                     },
                                     [](int) { return absl::OkStatus(); });
    EXPECT_THROW(static_cast<void>(workers.run(threads)), std::bad_alloc);
  }
}

}  // namespace
}  // namespace switchyard
