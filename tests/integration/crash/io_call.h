// Test code: one file-system call as io_shim.cpp sees it. It is counted, may be where the plan's fault strikes, and is
// logged. A plan is text, `key=value` separated by semicolons:
//   folder   absolute path; only calls on it and on what is below are counted, from 1
//   log      a file, appended to: a line for each call that took effect (number, name, what it did), and a line
//            "NUMBER killed NAME" or "NUMBER failed NAME" where the fault strikes
//   data     1: the bytes that were written follow the line of their write
//   rank     the plan is only for the process with this OMPI_COMM_WORLD_RANK
//   at, do   the fault, from call number `at` on:
//              kill          the process dies before that call
//              torn-none     it dies in the next write, after none of its bytes
//              torn-third    … after a third of them
//              torn-last     … after all but one
//              short         the next write takes only half of its bytes
//              errno-NUMBER  that call fails
//              full-NUMBER   that call and all later ones that may need space fail
#pragma once

#include <mutex>
#include <string>

#include <sys/types.h>

namespace crash {

enum class Kind { kWrite, kNeedsSpace, kOther };  // kWrite needs space, too

class Call {
 public:
  // Holds back all other calls until it is destroyed, so that the log has the order in which they took effect. May not
  // return. Where `counted` is false nothing happens.
  Call(bool counted, Kind kind, const char* name);

  bool counted() const { return counted_; }
  // Sets errno if so.
  bool fails() const;
  // Of a write of `bytes` bytes, how many to write.
  size_t part(size_t bytes) const;
  // To be called after such a write: dies where the plan says so.
  void end_write() const;
  // Adds a line to the log, unless not counted. errno stays as it was.
  __attribute__((format(printf, 2, 3))) void record(const char* format, ...) const;
  void record_data(const void* data, size_t bytes) const;

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  bool counted_;
  const char* name_;
  int error_ = 0;
  std::string cut_;
};

// What the path names, relative to the plan's folder, "." for the folder itself; empty: it is not below it.
std::string counted_path(int directory, const char* path);

// Numbers, from 1, for descriptors of counted paths, as the log has them; 0 for all others.
int handle(int descriptor);
int new_handle(int descriptor);
void forget_handle(int descriptor);

}  // namespace crash
