#include "launch/data/tokenizer.h"

#include <gtest/gtest.h>

#include "launch/data/training_lines.h"
#include "launch/data/utf8.h"
#include "tests/launch/data/corpus_testing.h"
#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

const Tokenizer& trained() {
  static const Tokenizer tokenizer = value_or_throw(Tokenizer::train(cut_lines(made_up_text(1, 2000)), 400, 0.9995));
  return tokenizer;
}

TEST(Tokenizer, TextComesBackByteForByte) {
  const std::vector<std::string> texts = {
      "kalo miren",
      " leading and trailing ",
      "two  spaces,    four; a\ttab\nlines\n\n\nand \r\n carriage returns\n",
      "\n",
      " ",
      "Ünïcödé: ελληνικά, кириллица, 日本語, العربية, हिन्दी, 한국어, עברית, "
      "👩‍👩‍👧 "
      "🜁",
      "ﬁ ligature, ² superscript, ％ full width, e\u0301 combining, \u00A0 hard space",
      "</s><s><unk><0x41> are text here",
      std::string("a zero \0 and a bell \a", 21),
      "",
  };
  for (const std::string& text : texts) {
    const auto ids = trained().encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    for (const int32_t id : *ids) EXPECT_NE(id, trained().end_of_document());
    EXPECT_EQ(value_or_throw(trained().decode(*ids)), text);
  }
}

TEST(Tokenizer, LearnsPiecesOfItsText) {
  EXPECT_EQ(trained().vocabulary_size(), 400);
  const std::string text = made_up_text(2, 50);
  const auto ids = value_or_throw(trained().encode(text));
  EXPECT_LT(ids.size() * 2, text.size());
}

TEST(Tokenizer, AnEndOfDocumentIsNoText) {
  auto ids = value_or_throw(trained().encode("kalo"));
  ids.push_back(trained().end_of_document());
  EXPECT_EQ(value_or_throw(trained().decode(ids)), "kalo");
}

TEST(Tokenizer, LongTextIsWhatItsLinesAre) {
  // Long text is encoded in parts; lines end in all kinds of places.
  std::string text;
  std::vector<int32_t> expected;
  for (unsigned i = 0; i < 3000; ++i) {
    std::string line;
    if (i % 7 != 0) line.append(i % 5, ' ').append(made_up_text(static_cast<int>(i), 1));
    if (i % 11 == 0) line.append(2, ' ');
    line.push_back('\n');
    text += line;
    for (const int32_t id : value_or_throw(trained().encode(line))) expected.push_back(id);
  }
  EXPECT_EQ(value_or_throw(trained().encode(text)), expected);
  EXPECT_EQ(value_or_throw(trained().decode(expected)), text);
}

TEST(Tokenizer, TheSameLinesGiveTheSameModel) {
  const auto again = value_or_throw(Tokenizer::train(cut_lines(made_up_text(1, 2000)), 400, 0.9995));
  EXPECT_EQ(again.bytes(), trained().bytes());
  EXPECT_EQ(again.hash(), trained().hash());
  const auto other = value_or_throw(Tokenizer::train(cut_lines(made_up_text(3, 2000)), 400, 0.9995));
  EXPECT_NE(other.hash(), trained().hash());
}

TEST(Tokenizer, SavedAndLoaded) {
  const TemporaryFolder folder;
  const auto loaded = Tokenizer::load(write_text(folder / "t.model", trained().bytes()));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->hash(), trained().hash());
  EXPECT_EQ(value_or_throw(loaded->encode("kalo miren")), value_or_throw(trained().encode("kalo miren")));
}

TEST(Tokenizer, BadFiles) {
  const TemporaryFolder folder;
  const auto load = [&](std::string_view content) {
    return Tokenizer::load(write_text(folder / "t.model", content)).status();
  };
  expect_error(load("not a model"), ErrorCategory::kBadData, {"t.model is not a sentencepiece model"});
  expect_error(load(""), ErrorCategory::kBadData, {"t.model", "empty"});
  expect_error(load(trained().bytes().substr(0, trained().bytes().size() / 2)), ErrorCategory::kBadData, {"t.model"});
  expect_error(Tokenizer::load((folder / "none.model").string()).status(), ErrorCategory::kMissingInput,
               {"none.model"});
}

TEST(Tokenizer, IdsOutsideTheVocabulary) {
  expect_error(trained().decode({5, 400}).status(), ErrorCategory::kBadData, {"token 400", "400 pieces"});
  expect_error(trained().decode({-1}).status(), ErrorCategory::kBadData, {"token -1"});
}

TEST(Tokenizer, VocabulariesThatTheTextCannotCarry) {
  const auto lines = cut_lines(made_up_text(1, 20));
  expect_error(Tokenizer::train(lines, 20, 0.9995).status(), ErrorCategory::kBadData, {"--vocab-size", "20"});
  expect_error(Tokenizer::train(lines, 60000, 0.9995).status(), ErrorCategory::kBadData, {"--vocab-size", "60000"});
}

TEST(TrainingLines, AreCutAtControlCharactersAndSpaces) {
  EXPECT_EQ(cut_lines("one\ttwo\n\n   \nthree\r\n  four"), (std::vector<std::string>{"one", "two", "three", "  four"}));
  EXPECT_EQ(cut_lines("aaaa bbbb cccc", 9), (std::vector<std::string>{"aaaa", " bbbb", " cccc"}));
  const std::string umlauts = "ääääääääää";  // 20 bytes
  const auto parts = cut_lines(umlauts, 7);
  std::string joined;
  for (const std::string& part : parts) {
    EXPECT_LE(part.size(), 7u);
    EXPECT_EQ(valid_utf8_prefix(part), part.size());
    joined += part;
  }
  EXPECT_EQ(joined, umlauts);
}

TEST(TrainingLines, AreThinnedEvenly) {
  LineSample sample(20'000);
  for (int i = 0; i < 1000; ++i)
    sample.add(std::vector<std::string>(10, std::string(10, static_cast<char>('a' + i / 100))));
  const auto lines = sample.take();
  EXPECT_LE(lines.size(), 2000u);
  EXPECT_GT(lines.size(), 900u);
  for (char c = 'a'; c <= 'j'; ++c) {
    const auto count = std::count_if(lines.begin(), lines.end(), [&](const std::string& line) { return line[0] == c; });
    EXPECT_NEAR(static_cast<double>(count), static_cast<double>(lines.size()) / 10, 60) << c;
  }
}

}  // namespace
}  // namespace switchyard
