// Names a stretch of this thread's work, in layers that know no recorder, to whoever listens through LibTorch's
// at::RecordFunction: a trace of ours, or PyTorch's profiler. Without a listener it costs some nanoseconds.
#pragma once

#include <utility>

#include <ATen/record_function.h>

namespace switchyard {

// What `body` returns. `name` is a literal.
template <typename Body>
decltype(auto) in_span(const char* name, Body&& body) {
  at::RecordFunction span(at::RecordScope::USER_SCOPE);
  if (span.isActive()) span.before(name);
  return std::forward<Body>(body)();
}

}  // namespace switchyard
