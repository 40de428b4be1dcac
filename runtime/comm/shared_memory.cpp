#include "runtime/comm/shared_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <string>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kGrowth = int64_t{64} << 20;  // bytes by which a segment grows

int64_t rounded_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

absl::Status unavailable(const std::string& what) {
  return error(ErrorCategory::kUnavailable, absl::StrCat(what, ": ", std::strerror(errno)));
}

// A file descriptor that is closed in the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  const int number_;
};

// Which bytes of a segment are in use.
class Book {
 public:
  // Where `bytes` free ones begin, so that `base` plus it is a multiple of `unit`: the first gap that has room.
  int64_t take(int64_t bytes, int64_t base, int64_t unit) {
    int64_t begin = rounded_up(base, unit) - base;
    auto next = taken_.begin();
    for (; next != taken_.end() && next->first < begin + bytes; ++next) {
      begin = rounded_up(base + next->second, unit) - base;
    }
    taken_.emplace(begin, begin + bytes);
    return begin;
  }
  void give_back(int64_t begin) { taken_.erase(begin); }
  // Of the last byte in use.
  int64_t end() const { return taken_.empty() ? 0 : taken_.rbegin()->second; }

 private:
  std::map<int64_t, int64_t> taken_;  // begin and end, ascending
};

}  // namespace

class SharedMemory::Segments {
 public:
  // `reserved`: bytes of addresses for each segment.
  Segments(int rank, int ranks, int64_t reserved)
      : rank_(rank), ranks_(ranks), reserved_(reserved), own_(::memfd_create("switchyard", MFD_CLOEXEC)) {
    if (own_.number() < 0) made_ = unavailable("no memory to share");
  }
  ~Segments() {
    if (base_ != nullptr) ::munmap(base_, ranks_ * reserved_);
  }

  // For map() of every rank: how this one's memory is found, and told from another file.
  std::string address() const {
    return absl::StrCat("/proc/", ::getpid(), "/fd/", own_.number(), " ", identity(own_.number()));
  }

  // addresses[r]: rank r's.
  absl::Status map(const std::vector<std::string>& addresses) {
    SY_RETURN_IF_ERROR(made_);
    void* base =
        ::mmap(nullptr, ranks_ * reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1, 0);
    if (base == MAP_FAILED) return unavailable("no addresses for shared memory");
    base_ = static_cast<char*>(base);
    for (int rank = 0; rank < ranks_; ++rank) {
      const std::vector<std::string> address = absl::StrSplit(addresses[rank], ' ');
      const Descriptor file(::open(address.front().c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      if (file.number() < 0) return unavailable(absl::StrCat("can't open the memory of rank ", rank));
      // Ranks that count processes each for themselves, in containers, would find something else there.
      if (identity(file.number()) != address.back()) {
        return error(ErrorCategory::kUnavailable, absl::StrCat("the memory of rank ", rank, " can't be found"));
      }
      // Beyond the file's end there is nothing to touch until its owner lets it grow.
      if (::mmap(base_ + rank * reserved_, reserved_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                 file.number(), 0) == MAP_FAILED) {
        return unavailable(absl::StrCat("can't map the memory of rank ", rank));
      }
    }
    ::madvise(base_, ranks_ * reserved_, MADV_DONTDUMP);  // a core dump would go through it all
    return absl::OkStatus();
  }

  // Of this rank's segment; rows of `row_bytes` begin at multiples of them, counted from the first segment.
  char* allocate(int64_t bytes, int64_t row_bytes) {
    const std::lock_guard lock(mutex_);
    if (++allocations_ % kRecent == 0) shrink();
    const int64_t begin = book_.take(bytes, rank_ * reserved_, std::lcm(row_bytes, kAlignment));
    if (begin + bytes > size_) {
      const int64_t size = rounded_up(begin + bytes, kGrowth);
      if (size > reserved_ || ::ftruncate(own_.number(), size) != 0) {
        book_.give_back(begin);
        throw std::bad_alloc();
      }
      size_ = size;
    }
    most_ = std::max(most_, begin + bytes);
    held_ = std::max(held_, rounded_up(begin + bytes, kGrowth));
    return base_ + rank_ * reserved_ + begin;
  }
  void release(char* data) {
    const std::lock_guard lock(mutex_);
    book_.give_back(data - base_ - rank_ * reserved_);
  }

  bool own(const char* data) const {
    const char* const begin = base_ + rank_ * reserved_;
    return data >= begin && data < begin + reserved_;
  }
  char* base() const { return base_; }
  int64_t bytes() const { return ranks_ * reserved_; }

 private:
  // To what was in use since the last time, if that is little: other ranks touch only what is in use, so none has to
  // know. Half of it is worth the pages that are cleared again where more is needed later. The file keeps its length,
  // and MPI, which may have shown the pages to a network card, watches madvise as it does not ftruncate.
  void shrink() {
    const int64_t held = rounded_up(most_, kGrowth);
    char* const begin = base_ + rank_ * reserved_ + held;
    if (held <= held_ / 2 && ::madvise(begin, held_ - held, MADV_REMOVE) == 0) held_ = held;
    most_ = book_.end();
  }

  static std::string identity(int file) {
    struct stat status {};
    return ::fstat(file, &status) == 0 ? absl::StrCat(status.st_dev, ":", status.st_ino) : "none";
  }

  const int rank_, ranks_;
  const int64_t reserved_;
  const Descriptor own_;
  absl::Status made_;
  char* base_ = nullptr;
  std::mutex mutex_;  // of the rest: tensors may go in any thread
  Book book_;
  int64_t size_ = 0;  // of this rank's file
  int64_t held_ = 0;  // of it, what may have pages
  int64_t most_ = 0;  // end of what was in use since the last shrink()
  int64_t allocations_ = 0;
};

absl::StatusOr<std::unique_ptr<SharedMemory>> SharedMemory::create(Communicator& group) {
  // No segment grows beyond the host's memory, nor all beyond the addresses that a process has.
  constexpr int64_t kAddresses = int64_t{1} << 46;
  const int64_t memory = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  const int64_t reserved = std::min(rounded_up(memory, kGrowth), kAddresses / group.size() / kGrowth * kGrowth);
  auto segments = std::make_shared<Segments>(group.rank(), group.size(), reserved);
  SY_ASSIGN_OR_RETURN(const auto addresses, all_gather_texts(group, segments->address()));
  SY_RETURN_IF_ERROR(agree(group, segments->map(addresses)));
  return std::unique_ptr<SharedMemory>(new SharedMemory(std::move(segments)));
}

at::Tensor SharedMemory::allocate(int64_t rows, int64_t width, const at::TensorOptions& options) const {
  SY_CHECK(options.device().is_cpu());
  const int64_t row_bytes = width * static_cast<int64_t>(options.dtype().itemsize());
  if (rows * row_bytes == 0) return at::empty({rows, width}, options);
  char* data = segments_->allocate(rows * row_bytes, row_bytes);
  return at::from_blob(
      data, {rows, width}, [segments = segments_](void* memory) { segments->release(static_cast<char*>(memory)); },
      options);
}

at::Tensor SharedMemory::all(int64_t width, const at::TensorOptions& options) const {
  const int64_t row_bytes = width * static_cast<int64_t>(options.dtype().itemsize());
  return at::from_blob(segments_->base(), {segments_->bytes() / std::max<int64_t>(1, row_bytes), width}, options);
}

int64_t SharedMemory::row_of(const at::Tensor& allocated) const {
  if (allocated.numel() == 0) return 0;
  const int64_t row_bytes = allocated.size(1) * allocated.element_size();
  const int64_t offset = static_cast<const char*>(allocated.const_data_ptr()) - segments_->base();
  SY_CHECK_EQ(offset % row_bytes, 0);
  return offset / row_bytes;
}

bool SharedMemory::holds(const at::Tensor& rows_RD) const {
  if (!rows_RD.is_cpu() || !rows_RD.is_contiguous()) return false;
  const auto* data = static_cast<const char*>(rows_RD.const_data_ptr());
  const int64_t row_bytes = rows_RD.size(1) * static_cast<int64_t>(rows_RD.element_size());
  return rows_RD.numel() == 0 || (segments_->own(data) && (data - segments_->base()) % row_bytes == 0);
}

}  // namespace switchyard
