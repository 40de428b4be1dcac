// How far a tool is: a line on a terminal, overwritten a few times a second, and nothing elsewhere.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include <absl/time/time.h>

namespace switchyard {

class ProgressLine {
 public:
  // `out`: null for none. `total`: bytes.
  ProgressLine(std::ostream* out, std::string what, int64_t total);
  ~ProgressLine();  // clears the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void add(int64_t bytes);

 private:
  std::ostream* const out_;
  const std::string what_;
  const int64_t total_;
  int64_t done_ = 0;
  absl::Time shown_ = absl::InfinitePast();
};

}  // namespace switchyard
