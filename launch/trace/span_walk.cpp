#include "launch/trace/span_walk.h"

#include <algorithm>
#include <limits>

namespace switchyard {
namespace {

class Walk {
 public:
  explicit Walk(const StretchVisitor& visit) : visit_(visit) {}

  void enter(const Span& span) {
    leave_until(span.begin_ns);
    spend_until(span.begin_ns);
    names_.push_back(span.name);
    ends_ns_.push_back(span.end_ns);
  }
  void leave_until(int64_t ns) {
    while (!ends_ns_.empty() && ends_ns_.back() <= ns) {
      spend_until(ends_ns_.back());
      ends_ns_.pop_back();
      names_.pop_back();
    }
  }

 private:
  void spend_until(int64_t ns) {
    if (ns > now_ && !names_.empty()) visit_(names_, now_, ns);
    now_ = std::max(now_, ns);
  }

  const StretchVisitor& visit_;
  std::vector<std::string_view> names_;
  std::vector<int64_t> ends_ns_;
  int64_t now_ = std::numeric_limits<int64_t>::min();
};

}  // namespace

void walk_spans(std::vector<const Span*> spans, const StretchVisitor& visit) {
  std::stable_sort(spans.begin(), spans.end(), [](const Span* a, const Span* b) {
    return a->begin_ns != b->begin_ns ? a->begin_ns < b->begin_ns : a->end_ns > b->end_ns;
  });
  Walk walk(visit);
  for (const Span* span : spans) walk.enter(*span);
  walk.leave_until(std::numeric_limits<int64_t>::max());
}

}  // namespace switchyard
