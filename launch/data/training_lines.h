// The text that a tokenizer is trained on: lines drawn evenly from a whole corpus, within a bound of memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// Cuts text at control characters (the trainer takes none), and long lines at a space near `most` bytes; what is blank
// is left out.
std::vector<std::string> cut_lines(std::string_view text, size_t most = 4096);

// Keeps each line with the same chance. The chance halves whenever more than `most_bytes` are kept; which lines stay
// depends on their numbers alone.
class LineSample {
 public:
  explicit LineSample(int64_t most_bytes) : most_bytes_(most_bytes) {}

  void add(std::vector<std::string> lines);
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  void thin();

  const int64_t most_bytes_;
  uint64_t limit_ = ~uint64_t{0};  // lines whose draw is at most this are kept
  int64_t seen_ = 0;
  int64_t bytes_ = 0;
  std::vector<std::string> lines_;
  std::vector<uint64_t> draws_;
};

}  // namespace switchyard
