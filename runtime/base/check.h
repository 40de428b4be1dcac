// Checks for what only a bug can break. A failed check prints both operands and throws CheckError, which main reports
// as an internal error (exit code 70). Outside input is never checked here: that is absl::Status.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace switchyard {

class CheckError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void check_failed(const char* file, int line, const std::string& what) {
  std::ostringstream text;
  text << file << ":" << line << ": check failed: " << what;
  throw CheckError(text.str());
}

template <typename A, typename B>
[[noreturn]] void check_op_failed(const char* file, int line, const char* expression, const A& a, const B& b) {
  std::ostringstream text;
  text << expression << " (" << a << " vs " << b << ")";
  check_failed(file, line, text.str());
}

}  // namespace switchyard

#define SY_CHECK(condition) \
  if (!(condition)) ::switchyard::check_failed(__FILE__, __LINE__, #condition)

#define SY_CHECK_OP(a, op, b)                                                                              \
  do {                                                                                                     \
    const auto& sy_a = (a);                                                                                \
    const auto& sy_b = (b);                                                                                \
    if (!(sy_a op sy_b)) ::switchyard::check_op_failed(__FILE__, __LINE__, #a " " #op " " #b, sy_a, sy_b); \
  } while (false)
#define SY_CHECK_EQ(a, b) SY_CHECK_OP(a, ==, b)
#define SY_CHECK_LE(a, b) SY_CHECK_OP(a, <=, b)
#define SY_CHECK_LT(a, b) SY_CHECK_OP(a, <, b)
#define SY_CHECK_GE(a, b) SY_CHECK_OP(a, >=, b)
