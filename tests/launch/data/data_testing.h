// What the tests of launch/data share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <gtest/gtest.h>

#include "launch/data/indexed_writer.h"
#include "runtime/base/status.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

inline std::string write_text(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  return path.string();
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void expect_error(const absl::Status& status, ErrorCategory category, const std::vector<std::string>& parts) {
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(error_category(status), category) << status;
  for (const std::string& part : parts) {
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << "no `" << part << "` in: " << status;
  }
}

// Writes documents of the given lengths with tokens that all differ: document d's token i is 1000·d + i.
inline std::string write_documents(const std::filesystem::path& prefix, const std::vector<int64_t>& lengths) {
  auto writer = value_or_throw(IndexedWriter::create(prefix.string(), 1 << 30));
  for (size_t d = 0; d < lengths.size(); ++d) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < lengths[d]; ++i) tokens.push_back(static_cast<int32_t>(1000 * d) + static_cast<int32_t>(i));
    throw_if_error(writer.add_document(tokens));
  }
  throw_if_error(writer.commit());
  return prefix.string();
}

}  // namespace switchyard
