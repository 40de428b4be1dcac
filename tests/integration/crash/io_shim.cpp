// Test code, loaded with LD_PRELOAD: takes the place of the functions of libc that change files, counts the calls on
// files of one folder, and lets a fault strike one of them. What to do is in the environment variable CRASH_SHIM or
// given to crash_shim_arm(), as io_call.h describes it.
#include <cerrno>
#include <cstdarg>
#include <string>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/integration/crash/io_call.h"

namespace {

using crash::Call;
using crash::counted_path;
using crash::handle;
using crash::Kind;

int open_file(int directory, const char* path, int flags, mode_t mode) {
  const std::string name = counted_path(directory, path);
  const bool creates = (flags & O_CREAT) != 0;
  const Call call(!name.empty(), creates ? Kind::kNeedsSpace : Kind::kOther, creates ? "create" : "open");
  if (call.fails()) return -1;
  struct stat before;
  const bool exists = call.counted() && ::fstatat(directory, path, &before, 0) == 0;
  const int descriptor = static_cast<int>(::syscall(SYS_openat, directory, path, flags, mode));
  if (descriptor < 0) return descriptor;
  crash::forget_handle(descriptor);
  if (call.counted()) {
    const char* how = !exists ? "created" : (flags & O_TRUNC) != 0 ? "emptied" : "existing";
    call.record("%s %d %s %s", creates ? "create" : "open", crash::new_handle(descriptor), name.c_str(), how);
  }
  return descriptor;
}

ssize_t write_at(int descriptor, const void* data, size_t bytes, off_t offset) {
  const Call call(handle(descriptor) != 0, Kind::kWrite, "write");
  if (call.fails()) return -1;
  const size_t part = call.part(bytes);
  const ssize_t written = part == 0 ? 0 : ::syscall(SYS_pwrite64, descriptor, data, part, offset);
  if (written > 0) {
    call.record("write %d %ld %zd", handle(descriptor), static_cast<long>(offset), written);
    call.record_data(data, static_cast<size_t>(written));
  }
  call.end_write();
  return written;
}

ssize_t write_on(int descriptor, const void* data, size_t bytes) {
  const off_t offset = ::lseek(descriptor, 0, SEEK_CUR);
  const ssize_t written = write_at(descriptor, data, bytes, offset);
  if (written > 0) ::lseek(descriptor, offset + written, SEEK_SET);
  return written;
}

// Records a call that returned `result`, if that is success.
template <typename... Arguments>
int done(const Call& call, long result, const char* format, Arguments... arguments) {
  if (result == 0) call.record(format, arguments...);
  return static_cast<int>(result);
}

int rename_file(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  const std::string old_name = counted_path(from_directory, from);
  const std::string new_name = counted_path(to_directory, to);
  const Call call(!old_name.empty() || !new_name.empty(), Kind::kNeedsSpace, "rename");
  if (call.fails()) return -1;
  const long result = ::syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
  return done(call, result, "rename %s %s %s", old_name.c_str(), new_name.c_str(),
              (flags & RENAME_EXCHANGE) != 0 ? "exchange" : "move");
}

int remove_entry(int directory, const char* path, int flags) {
  const std::string name = counted_path(directory, path);
  const char* what = (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink";
  const Call call(!name.empty(), Kind::kOther, what);
  if (call.fails()) return -1;
  return done(call, ::syscall(SYS_unlinkat, directory, path, flags), "%s %s", what, name.c_str());
}

int make_folder(int directory, const char* path, mode_t mode) {
  const std::string name = counted_path(directory, path);
  const Call call(!name.empty(), Kind::kNeedsSpace, "mkdir");
  if (call.fails()) return -1;
  return done(call, ::syscall(SYS_mkdirat, directory, path, mode), "mkdir %s", name.c_str());
}

int make_link(const char* target, int directory, const char* path) {
  const std::string name = counted_path(directory, path);
  const Call call(!name.empty(), Kind::kNeedsSpace, "symlink");
  if (call.fails()) return -1;
  return done(call, ::syscall(SYS_symlinkat, target, directory, path), "symlink %s %s", target, name.c_str());
}

int allocate(int descriptor, int mode, off_t offset, off_t bytes) {
  const Call call(handle(descriptor) != 0, Kind::kNeedsSpace, "allocate");
  if (call.fails()) return -1;
  return done(call, ::syscall(SYS_fallocate, descriptor, mode, offset, bytes), "allocate %d %ld", handle(descriptor),
              (mode & FALLOC_FL_KEEP_SIZE) == 0 ? static_cast<long>(offset + bytes) : 0L);
}

int synchronise(int descriptor, long number) {
  const Call call(handle(descriptor) != 0, Kind::kNeedsSpace, "sync");
  if (call.fails()) return -1;
  return done(call, ::syscall(number, descriptor), "sync %d", handle(descriptor));
}

int truncate_file(int descriptor, off_t bytes) {
  const Call call(handle(descriptor) != 0, Kind::kOther, "truncate");
  if (call.fails()) return -1;
  return done(call, ::syscall(SYS_ftruncate, descriptor, bytes), "truncate %d %ld", handle(descriptor),
              static_cast<long>(bytes));
}

// Takes the mode that follows `flags`, where there is one.
mode_t mode_after(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_after(flags, arguments);
  va_end(arguments);
  return open_file(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_after(flags, arguments);
  va_end(arguments);
  return open_file(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) __attribute__((alias("openat")));
int creat(const char* path, mode_t mode) {
  return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

ssize_t write(int descriptor, const void* data, size_t bytes) {
  return handle(descriptor) == 0 ? ::syscall(SYS_write, descriptor, data, bytes) : write_on(descriptor, data, bytes);
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  return handle(descriptor) == 0 ? ::syscall(SYS_pwrite64, descriptor, data, bytes, offset)
                                 : write_at(descriptor, data, bytes, offset);
}
ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off_t offset) __attribute__((alias("pwrite")));
ssize_t writev(int descriptor, const iovec* pieces, int count) {
  if (handle(descriptor) == 0) return ::syscall(SYS_writev, descriptor, pieces, count);
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  return write_on(descriptor, bytes.data(), bytes.size());
}

int fsync(int descriptor) {
  return synchronise(descriptor, SYS_fsync);
}
int fdatasync(int descriptor) {
  return synchronise(descriptor, SYS_fdatasync);
}
int ftruncate(int descriptor, off_t bytes) {
  return truncate_file(descriptor, bytes);
}
int ftruncate64(int descriptor, off_t bytes) __attribute__((alias("ftruncate")));
int fallocate(int descriptor, int mode, off_t offset, off_t bytes) {
  return allocate(descriptor, mode, offset, bytes);
}
int fallocate64(int descriptor, int mode, off_t offset, off_t bytes) __attribute__((alias("fallocate")));
int posix_fallocate(int descriptor, off_t offset, off_t bytes) {
  return allocate(descriptor, 0, offset, bytes) == 0 ? 0 : errno;
}
int posix_fallocate64(int descriptor, off_t offset, off_t bytes) __attribute__((alias("posix_fallocate")));

int rename(const char* from, const char* to) {
  return rename_file(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) {
  return rename_file(from_directory, from, to_directory, to, 0);
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  return rename_file(from_directory, from, to_directory, to, flags);
}
int mkdir(const char* path, mode_t mode) {
  return make_folder(AT_FDCWD, path, mode);
}
int mkdirat(int directory, const char* path, mode_t mode) {
  return make_folder(directory, path, mode);
}
int symlink(const char* target, const char* path) {
  return make_link(target, AT_FDCWD, path);
}
int symlinkat(const char* target, int directory, const char* path) {
  return make_link(target, directory, path);
}
int unlink(const char* path) {
  return remove_entry(AT_FDCWD, path, 0);
}
int unlinkat(int directory, const char* path, int flags) {
  return remove_entry(directory, path, flags);
}
int rmdir(const char* path) {
  return remove_entry(AT_FDCWD, path, AT_REMOVEDIR);
}
int remove(const char* path) {
  struct stat info;
  const bool folder = ::lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
  return remove_entry(AT_FDCWD, path, folder ? AT_REMOVEDIR : 0);
}

int close(int descriptor) {
  const int number = handle(descriptor);
  const Call call(number != 0, Kind::kOther, "close");
  crash::forget_handle(descriptor);
  // The descriptor is gone even where close fails.
  const int result = done(call, ::syscall(SYS_close, descriptor), "close %d", number);
  return call.fails() ? -1 : result;
}
int closedir(DIR* directory) {
  static const auto real = reinterpret_cast<int (*)(DIR*)>(::dlsym(RTLD_NEXT, "closedir"));
  crash::forget_handle(::dirfd(directory));
  return real(directory);
}

}  // extern "C"
