#include "parallel/checkpoint/manifest.h"

#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>

#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

Manifest example() {
  Manifest manifest;
  manifest.step = 100;
  manifest.run_state = R"({"seed":1234,"z":{"loss":0.1},"a":null})";
  manifest.files = {{"a.safetensors", 100, 8, 0xabc}, {"b.safetensors", 2 * kChunkBytes, 64, 0xdef}};
  manifest.aliases = {{"output", "w"}};
  manifest.tensors = {{"w", Dtype::kBF16, {4, 6}, {{{{0, 0}, {4, 2}}, 0, 8, {1}}, {{{0, 2}, {4, 4}}, 1, 0, {2}}}},
                      {"scalar", Dtype::kI64, {}, {{{{}, {}}, 0, 40, {0xfedcba9876543210}}}},
                      {"long", Dtype::kU8, {kChunkBytes + 1}, {{{{0}, {kChunkBytes + 1}}, 1, 64, {3, 4}}}},
                      {"none", Dtype::kF32, {0, 3}, {}}};
  return manifest;
}

// The text with `from` replaced and the hash made to agree again.
std::string edited(const std::string& from, const std::string& to) {
  std::string text = *serialise_manifest(example());
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const size_t end = text.rfind(",\n\"hash\"");
  return text.substr(0, end) + ",\n\"hash\":\"" + checksum_text(checksum(text.data(), static_cast<int64_t>(end))) +
         "\"}\n";
}

TEST(Manifest, SurvivesItsText) {
  const auto manifest = parse_manifest(*serialise_manifest(example()), "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_TRUE(check_complete(*manifest).ok()) << check_complete(*manifest);
  EXPECT_EQ(manifest->step, 100);
  EXPECT_EQ(manifest->run_state, example().run_state);  // keys in the caller's order
  EXPECT_EQ(manifest->total_bytes(), 100 + 2 * kChunkBytes);
  ASSERT_EQ(manifest->tensors.size(), 4U);
  EXPECT_EQ(manifest->tensors[0].boxes[1].box, (Box{{0, 2}, {4, 4}}));
  EXPECT_EQ(manifest->tensors[0].boxes[1].file, 1U);
  EXPECT_EQ(manifest->tensors[1].boxes[0].checksums.front(), 0xfedcba9876543210);
  EXPECT_EQ(manifest->tensors[1].boxes[0].byte_offset, 40);
  EXPECT_EQ(*serialise_manifest(*manifest), *serialise_manifest(example()));
}

TEST(Manifest, EveryFlippedBitIsFound) {
  const std::string good = *serialise_manifest(example());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string text = good;
    text[i] = static_cast<char>(text[i] ^ (1 << (i % 8)));
    ASSERT_EQ(error_category(parse_manifest(text, "m").status()), ErrorCategory::kBadData) << "byte " << i;
    ASSERT_FALSE(parse_manifest(good.substr(0, i), "m").ok()) << "cut at " << i;
  }
}

TEST(Manifest, RefusesAnotherVersion) {
  for (const char* version : {"0", "3"}) {
    const auto manifest = parse_manifest(edited("\"version\":2", absl::StrCat("\"version\":", version)), "m");
    EXPECT_THAT(std::string(manifest.status().message()),
                HasSubstr(absl::StrCat("m has version ", version, ", and this program reads 1 to 2")));
  }
}

TEST(Manifest, RefusesARunStateThatIsNoObject) {
  for (const char* state : {"", "[]", "{", "3", "{\"a\":1e999}"}) {
    Manifest manifest = example();
    manifest.run_state = state;
    EXPECT_EQ(error_category(serialise_manifest(manifest).status()), ErrorCategory::kUsage) << state;
  }
}

TEST(Manifest, RefusesTheImpossible) {
  ASSERT_TRUE(parse_manifest(edited("100", "101"), "m").ok());  // of the step: the edit itself is sound
  const std::pair<const char*, const char*> edits[] = {
      {"\"switchyard checkpoint\"", "\"another\""},
      {"\"offset\":[0,2]", "\"offset\":[0,3]"},
      {"\"offset\":[0,2]", "\"offset\":[-1,2]"},
      {"\"offset\":[0,2]", "\"offset\":[0,9223372036854775807]"},
      {"\"offset\":[0,2]", "\"offset\":[2]"},
      {"\"extent\":[4,2]", "\"extent\":[4,0]"},
      {"\"extent\":[4,2]", "\"extent\":\"x\""},
      {"\"byte_offset\":40", "\"byte_offset\":93"},
      {"\"byte_offset\":40", "\"byte_offset\":-1"},
      {"\"file\":\"a.safetensors\"", "\"file\":\"c.safetensors\""},
      {"\"name\":\"a.safetensors\"", "\"name\":\"../a\""},
      {"\"name\":\"b.safetensors\"", "\"name\":\"a.safetensors\""},
      {"\"fedcba9876543210\"", ""},
      {"\"fedcba9876543210\"", "\"xyz\""},
      {"\"dtype\":\"BF16\"", "\"dtype\":\"F7\""},
      {"\"shape\":[4,6]", "\"shape\":[4,4611686018427387904,6]"},
      {"\"bytes\":100", "\"bytes\":99"},
      {"\"tensors\"", "\"tensor\""},
      {"\"step\":100", "\"step\":-1"},
      {"\"step\":100", "\"step\":1e308"},
      {"\"offset\":[0,2]", "\"offset\":[0,2.0]"},
      {"\"offset\":[0,2]", "\"offset\":2"},
      {"\"header_bytes\":64", "\"header_bytes\":0"},
      {"\"header_bytes\":64", "\"header_bytes\":2097153"},
      {"\"0000000000000def\"", "\"def\""},
      {"\"header\"", "\"heading\""},
      {"\"aliases\":{\"output\":\"w\"}", "\"aliases\":{\"output\":1}"},
  };
  for (const auto& [from, to] : edits) {
    const absl::Status status = parse_manifest(edited(from, to), "m").status();
    EXPECT_EQ(error_category(status), ErrorCategory::kBadData) << from << " to " << to << ": " << status;
  }
}

TEST(Manifest, RefusesSizesWhoseSumWraps) {
  const std::string most = "9223372036854775807";
  const absl::Status status = parse_manifest(edited("\"bytes\":100", "\"bytes\":" + most), "m").status();
  EXPECT_EQ(error_category(status), ErrorCategory::kBadData) << status;
  Manifest huge = example();
  const Box box{{0}, {int64_t{1} << 62}};
  huge.tensors = {{"w", Dtype::kU8, {int64_t{1} << 62}, std::vector<StoredBox>(5, {box, 1, 0, {}})}};
  EXPECT_EQ(error_category(check_complete(huge)), ErrorCategory::kBadData);  // 5 · 2^62 is 2^62 in 64 bits
}

// Writing such a value out would take a stack as deep.
TEST(Manifest, RefusesADeepRunState) {
  const auto nested = [](size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_TRUE(parse_manifest(edited("\"a\":null", "\"a\":" + nested(50)), "m").ok());
  const absl::Status status = parse_manifest(edited("\"a\":null", "\"a\":" + nested(1'000'000)), "m").status();
  EXPECT_EQ(error_category(status), ErrorCategory::kBadData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nests deeper"));
}

TEST(Manifest, BoxesMustCoverOnce) {
  Manifest hole = example();
  hole.tensors[0].boxes.pop_back();
  EXPECT_THAT(std::string(check_complete(hole).message()), HasSubstr("\"w\" [4,6]: its boxes hold 8"));
  Manifest overlap = example();  // the right size in total
  overlap.tensors[0].boxes[0].box = {{0, 4}, {4, 2}};
  EXPECT_THAT(std::string(check_complete(overlap).message()), HasSubstr("exactly once"));
  Manifest twice = example();
  twice.tensors[1].boxes.push_back(twice.tensors[1].boxes.front());
  EXPECT_THAT(std::string(check_complete(twice).message()), HasSubstr("scalar"));
  Manifest dangling = example();
  dangling.aliases = {{"output", "nothing"}};
  EXPECT_THAT(std::string(check_complete(dangling).message()), HasSubstr("further name of tensor \"nothing\""));
  Manifest hidden = example();
  hidden.aliases = {{"long", "w"}};
  EXPECT_THAT(std::string(check_complete(hidden).message()), HasSubstr("\"long\" cannot be"));
  Manifest repeated = example();
  repeated.tensors.push_back(repeated.tensors[3]);
  EXPECT_THAT(std::string(check_complete(repeated).message()), HasSubstr("\"none\" is listed twice"));
}

}  // namespace
}  // namespace switchyard
