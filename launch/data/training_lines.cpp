#include "launch/data/training_lines.h"

#include <utility>

#include "runtime/numerics/random.h"

namespace switchyard {
namespace {

bool control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// Where to cut `line`, which is longer than `most`: after a space if there is one, else between two characters.
size_t cut_point(std::string_view line, size_t most) {
  const size_t space = line.rfind(' ', most - 1);
  if (space != std::string_view::npos && space > 0) return space;
  size_t at = most;
  while (at > 1 && (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80) --at;
  return at;
}

void add_line(std::string_view line, size_t most, std::vector<std::string>& lines) {
  while (line.size() > most) {
    const size_t at = cut_point(line, most);
    lines.emplace_back(line.substr(0, at));
    line.remove_prefix(at);
  }
  if (line.find_first_not_of(' ') != std::string_view::npos) lines.emplace_back(line);
}

}  // namespace

std::vector<std::string> cut_lines(std::string_view text, size_t most) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && !control(text[i])) continue;
    add_line(text.substr(begin, i - begin), most, lines);
    begin = i + 1;
  }
  return lines;
}

void LineSample::add(std::vector<std::string> lines) {
  const CounterRandom random(0, hash_name("tokenizer lines"));
  for (std::string& line : lines) {
    const uint64_t draw = random.bits(static_cast<uint64_t>(seen_++));
    if (draw > limit_) continue;
    bytes_ += static_cast<int64_t>(line.size());
    lines_.push_back(std::move(line));
    draws_.push_back(draw);
    if (bytes_ > most_bytes_) thin();
  }
}

void LineSample::thin() {
  while (bytes_ > most_bytes_) {
    limit_ /= 2;
    size_t kept = 0;
    bytes_ = 0;
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (draws_[i] > limit_) continue;
      bytes_ += static_cast<int64_t>(lines_[i].size());
      draws_[kept] = draws_[i];
      std::swap(lines_[kept++], lines_[i]);
    }
    lines_.resize(kept);
    draws_.resize(kept);
  }
}

}  // namespace switchyard
