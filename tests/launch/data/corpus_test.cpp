#include "launch/data/corpus.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "launch/data/utf8.h"
#include "tests/launch/data/data_testing.h"

namespace switchyard {
namespace {

std::string gzip(const std::filesystem::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  EXPECT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  gzclose(file);
  return path.string();
}

absl::StatusOr<std::vector<RawDocument>> read_all(CorpusReader& reader) {
  std::vector<RawDocument> all;
  while (true) {
    SY_ASSIGN_OR_RETURN(auto batch, reader.next());
    if (!batch) return all;
    for (RawDocument& document : *batch) all.push_back(std::move(document));
  }
}

absl::StatusOr<std::vector<std::string>> texts(const std::vector<std::string>& files, TextFormat format) {
  CorpusReader reader(files, format);
  SY_ASSIGN_OR_RETURN(auto documents, read_all(reader));
  EXPECT_EQ(reader.bytes_read(), reader.bytes_total());
  std::vector<std::string> all;
  for (RawDocument& document : documents) {
    SY_ASSIGN_OR_RETURN(DocumentText read, document_text(std::move(document), format));
    all.push_back(std::move(read.text));
  }
  return all;
}

TEST(Utf8, ValidAndInvalid) {
  for (const std::string& good :
       {std::string("plain ascii text, long enough"), std::string("é"), std::string("€uro"), std::string("𐍈 and 🜁"),
        std::string("\0", 1), std::string("\xF4\x8F\xBF\xBF"), std::string("\xED\x9F\xBF\xEE\x80\x80")}) {
    EXPECT_EQ(valid_utf8_prefix(good), good.size()) << good;
  }
  const std::vector<std::string> bad = {"\x80",
                                        "\xC0\x80",
                                        "\xC1\xBF",
                                        "\xE0\x9F\xBF",
                                        "\xED\xA0\x80",
                                        "\xF0\x8F\xBF\xBF",
                                        "\xF4\x90\x80\x80",
                                        "\xF5\x80\x80\x80",
                                        "\xFF",
                                        "\xC3",
                                        "\xE2\x82",
                                        "\xF0\x9F\x9C",
                                        "\xC3(",
                                        "\xE2(\xA1",
                                        "\xE2\x82("};
  for (const std::string& tail : bad) {
    for (const std::string& head : {std::string(), std::string("12345678"), std::string("ä€")}) {
      EXPECT_EQ(valid_utf8_prefix(head + tail), head.size());
      EXPECT_EQ(valid_utf8_prefix(head + tail + "more text behind"), head.size());
    }
  }
}

TEST(Corpus, FoldersAreWalkedInOrder) {
  const TemporaryFolder folder;
  for (const char* name : {"b.txt", "a/z.txt", "a/c.txt", "a.txt", ".hidden/x", "a/.y"})
    write_text(folder / name, name);
  const auto files =
      value_or_throw(list_inputs({folder.path().string(), (folder / "a").string(), (folder / "b.txt").string()}));
  std::vector<std::string> names;
  for (const std::string& file : files) names.push_back(file.substr(folder.path().string().size() + 1));
  EXPECT_EQ(names, (std::vector<std::string>{"a.txt", "a/c.txt", "a/z.txt", "b.txt", "a/c.txt", "a/z.txt", "b.txt"}));
  expect_error(list_inputs({(folder / "none").string()}).status(), ErrorCategory::kMissingInput, {"none"});
}

TEST(Corpus, TextGzipAndEmptyFiles) {
  const TemporaryFolder folder;
  std::string large;
  for (int i = 0; i < 300'000; ++i) large += "line " + std::to_string(i) + "\n";  // several reads
  const std::vector<std::string> files = {write_text(folder / "a", "first"),
                                          write_text(folder / "b", ""),
                                          gzip(folder / "c.gz", large),
                                          write_text(folder / "d", large),
                                          write_text(folder / "e", "\xEF\xBB\xBFmarked"),
                                          gzip(folder / "f", "gzip, unnamed")};
  EXPECT_EQ(value_or_throw(texts(files, TextFormat::kText)),
            (std::vector<std::string>{"first", large, large, "marked", "gzip, unnamed"}));
}

TEST(Corpus, AFileOfExactlyOneRead) {
  const TemporaryFolder folder;
  for (const size_t bytes : {(size_t{1} << 20) - 1, size_t{1} << 20, (size_t{1} << 20) + 1}) {
    const auto all = value_or_throw(texts({write_text(folder / "a", std::string(bytes, 'x'))}, TextFormat::kText));
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].size(), bytes);
  }
}

TEST(Corpus, JsonLines) {
  const TemporaryFolder folder;
  const std::string file = write_text(folder / "a.jsonl",
                                      "{\"text\": \"one\\n\\u00e9\\ud83d\\ude00\", \"id\": 3}\n\n  \r\n"
                                      "{\"id\": [1, 2], \"text\": \"two\"}\r\n{\"text\": \"\"}\n{\"text\": \"last\"}");
  EXPECT_EQ(value_or_throw(texts({file}, TextFormat::kJsonLines)),
            (std::vector<std::string>{"one\né😀", "two", "", "last"}));
}

TEST(Corpus, LongAndManyJsonLines) {
  const TemporaryFolder folder;
  std::string content;
  std::vector<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    expected.push_back(
        std::string(static_cast<size_t>(i % 50 == 0 ? 2'500'000 / 10 : i), static_cast<char>('a' + i % 26)));
    content += "{\"text\":\"" + expected.back() + "\"}\n";
  }
  expected.emplace_back(3'000'000, 'z');
  content += "{\"text\":\"" + expected.back() + "\"}\n";
  EXPECT_EQ(value_or_throw(texts({gzip(folder / "a.gz", content)}, TextFormat::kJsonLines)), expected);
  CorpusReader reader({write_text(folder / "b", content)}, TextFormat::kJsonLines);
  const auto documents = value_or_throw(read_all(reader));
  int64_t offset = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    EXPECT_EQ(documents[i].line, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(documents[i].offset, offset);
    offset += static_cast<int64_t>(documents[i].content.size()) + 1;
  }
}

TEST(Corpus, InvalidUtf8NamesTheByte) {
  const TemporaryFolder folder;
  expect_error(texts({write_text(folder / "a.txt", "good \xFF")}, TextFormat::kText).status(), ErrorCategory::kBadData,
               {"a.txt", "byte 5", "UTF-8"});
  expect_error(texts({write_text(folder / "a.txt", "\xEF\xBB\xBFgood \xFF")}, TextFormat::kText).status(),
               ErrorCategory::kBadData, {"byte 8"});
  expect_error(
      texts({write_text(folder / "b", "{\"text\": \"a\"}\n{\"text\": \"\xC3(\"}\n")}, TextFormat::kJsonLines).status(),
      ErrorCategory::kBadData, {"b: line 2, byte 24", "UTF-8"});
}

TEST(Corpus, MalformedJson) {
  const TemporaryFolder folder;
  const auto status = [&](const std::string& line) {
    return texts({write_text(folder / "a", "{\"text\": \"a\"}\n" + line + "\n")}, TextFormat::kJsonLines).status();
  };
  expect_error(status("{\"text\": \"b\""), ErrorCategory::kBadData, {"a: line 2, byte ", "not valid JSON"});
  expect_error(status("{\"text\": \"b\"} x"), ErrorCategory::kBadData, {"line 2, byte 28"});
  expect_error(status("{\"text\": \"\\ud800\"}"), ErrorCategory::kBadData, {"line 2", "not valid JSON"});
  expect_error(status("{\"body\": \"b\"}"), ErrorCategory::kBadData, {"line 2, byte 14", "no \"text\""});
  expect_error(status("{\"text\": 3}"), ErrorCategory::kBadData, {"line 2", "not a string"});
  expect_error(status("[\"text\"]"), ErrorCategory::kBadData, {"line 2", "not a JSON object"});
}

TEST(Corpus, BrokenGzip) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919 % 100'003) + " ";
  const std::string whole = read_text(gzip(folder / "whole.gz", text));
  expect_error(texts({write_text(folder / "cut.gz", whole.substr(0, whole.size() / 2))}, TextFormat::kText).status(),
               ErrorCategory::kBadData, {"cut.gz", "broken gzip"});
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x55);
  expect_error(texts({write_text(folder / "damaged.gz", damaged)}, TextFormat::kText).status(), ErrorCategory::kBadData,
               {"damaged.gz", "broken gzip"});
}

}  // namespace
}  // namespace switchyard
