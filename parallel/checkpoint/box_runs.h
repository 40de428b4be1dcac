// The overlap of two boxes of one tensor as contiguous byte runs, in the order in which they lie in the first.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/topology/box.h"

namespace switchyard {

class BoxRuns {
 public:
  // Both boxes are dense and row-major, of elements of `item_bytes` bytes, and have equally many dimensions.
  BoxRuns(const Box& from, const Box& to, int64_t item_bytes);

  bool done() const { return done_; }
  void advance();

  int64_t bytes() const { return bytes_; }          // of every run
  int64_t from_byte() const { return from_byte_; }  // where the current run starts in `from`
  int64_t to_byte() const { return to_byte_; }      // and in `to`
  int64_t total_bytes() const { return total_bytes_; }

 private:
  struct Dimension {
    int64_t count;
    int64_t from_stride;  // bytes
    int64_t to_stride;
    int64_t index;
  };

  std::vector<Dimension> outer_;  // outermost first
  int64_t bytes_ = 0;
  int64_t from_byte_ = 0;
  int64_t to_byte_ = 0;
  int64_t total_bytes_ = 0;
  bool done_ = false;
};

}  // namespace switchyard
