#include "runtime/storage/safetensors_header.h"

#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr int64_t kBytes = 16;

absl::StatusOr<SafetensorsHeader> parse(const std::string& json) {
  return parse_safetensors_header(json, kBytes, "x.safetensors");
}

TEST(SafetensorsHeader, OrdersByData) {
  const auto header = parse(R"({"b":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},
                                "a":{"shape":[2,2],"dtype":"BF16","data_offsets":[0,8]},
                                "none":{"dtype":"F32","shape":[0,7],"data_offsets":[8,8]},
                                "__metadata__":{"k":"v"}}  )");
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->entries.size(), 3U);
  EXPECT_EQ(header->entries[0].name, "a");
  EXPECT_EQ(header->entries[0].dtype, Dtype::kBF16);
  EXPECT_EQ(header->entries[0].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(header->entries[1].name, "none");
  EXPECT_EQ(header->entries[2].name, "b");
  EXPECT_EQ(header->metadata.at("k"), "v");
}

TEST(SafetensorsHeader, SurvivesItsText) {
  SafetensorsHeader header;
  header.metadata = {{"\"quoted\"", "\u2603"}};
  header.entries = {{"first\n", Dtype::kF64, {2}, 0, 16}, {"empty", Dtype::kU8, {3, 0}, 16, 16}};
  const std::string text = serialise_safetensors_header(header);
  EXPECT_EQ(text.size() % 8, 0U);
  EXPECT_EQ(static_cast<unsigned char>(text[0]), text.size() - 8);
  const auto again = parse(text.substr(8));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->metadata, header.metadata);
  EXPECT_EQ(again->entries[0].name, "first\n");
  EXPECT_EQ(again->entries[1].shape, (std::vector<int64_t>{3, 0}));
}

// Naming such a dtype in a message would take a stack as deep.
TEST(SafetensorsHeader, DeepValuesAreRefused) {
  const std::string open(1'000'000, '[');
  const std::string deep = absl::StrCat(open, std::string(open.size(), ']'));
  const std::vector<std::string> headers = {
      absl::StrCat("{\"a\":{\"dtype\":", deep, ",\"shape\":[],\"data_offsets\":[0,0]}}"),
      absl::StrCat("{\"__metadata__\":", deep, "}"), absl::StrCat("{\"a\":", open)};
  for (const std::string& json : headers) {
    const absl::Status status = parse(json).status();
    EXPECT_EQ(error_category(status), ErrorCategory::kBadData);
    EXPECT_LT(status.message().size(), 200U);
  }
}

struct BadCase {
  const char* what;
  const char* json;
  const char* message;
};

class BadSafetensorsHeader : public testing::TestWithParam<BadCase> {};

TEST_P(BadSafetensorsHeader, IsRefused) {
  const auto header = parse(GetParam().json);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(error_category(header.status()), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(header.status().message()), testing::HasSubstr("x.safetensors"));
  EXPECT_THAT(std::string(header.status().message()), testing::HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSafetensorsHeader,
    testing::Values(
        BadCase{"Empty", "", "does not start with '{'"}, BadCase{"LeadingSpace", " {}", "does not start with '{'"},
        BadCase{"Cut", R"({"a":{"dtype":"F32")", "not a JSON object"},
        BadCase{"Trailing", R"({} x)", "not a JSON object"},
        BadCase{"InvalidUtf8", "{\"\xff\":1}", "not a JSON object"},
        BadCase{"Uncovered", "{}", "the tensors end at byte 0, but 16"},
        BadCase{"Repeated", R"({"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},
                                "a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}})",
                "the key \"a\" twice"},
        BadCase{"RepeatedField", R"({"a":{"dtype":"U8","dtype":"I8","shape":[16],"data_offsets":[0,16]}})",
                "the key \"dtype\" twice"},
        BadCase{"NotAnObject", R"({"a":3})", "tensor \"a\""},
        BadCase{"NoShape", R"({"a":{"dtype":"U8","data_offsets":[0,16]}})", "tensor \"a\": its keys"},
        BadCase{"UnknownKey", R"({"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16],"x":1}})",
                "tensor \"a\": its keys"},
        BadCase{"UnknownDtype", R"({"a":{"dtype":"F7","shape":[16],"data_offsets":[0,16]}})",
                "tensor \"a\": unknown dtype \"F7\""},
        BadCase{"NegativeShape", R"({"a":{"dtype":"U8","shape":[-16],"data_offsets":[0,16]}})", "list of sizes"},
        BadCase{"FractionalShape", R"({"a":{"dtype":"U8","shape":[16.0],"data_offsets":[0,16]}})", "list of sizes"},
        BadCase{"HugeShape", R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}})",
                "do not hold F32"},
        BadCase{"BeyondInt64", R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,16]}})",
                "list of sizes"},
        BadCase{"WrongSize", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})", "do not hold F32 [3]"},
        BadCase{"ThreeOffsets", R"({"a":{"dtype":"U8","shape":[16],"data_offsets":[0,8,16]}})", "two sizes"},
        BadCase{"Backwards", R"({"a":{"dtype":"U8","shape":[16],"data_offsets":[16,0]}})", "is not within"},
        BadCase{"Outside", R"({"a":{"dtype":"U8","shape":[17],"data_offsets":[0,17]}})", "is not within the 16"},
        BadCase{"Overlap", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]},
                               "b":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}})",
                "tensor \"b\": its data starts at byte 8, inside"},
        BadCase{"Hole", R"({"a":{"dtype":"U8","shape":[7],"data_offsets":[0,7]},
                            "b":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}})",
                "tensor \"b\": its data starts at byte 8, with a hole"},
        BadCase{"MetadataNumber", R"({"__metadata__":{"k":1}})", "is not a text"}),
    [](const auto& test) { return std::string(test.param.what); });

TEST(SafetensorsHeader, DeepNestingEnds) {
  EXPECT_FALSE(parse("{\"a\":" + std::string(1'000'000, '[')).ok());
}

}  // namespace
}  // namespace switchyard
