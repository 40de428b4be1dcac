#include "launch/trace/chrome_trace.h"

#include <algorithm>
#include <map>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

// A row shows spans that hold one another or follow one another.
class Row {
 public:
  // Spans come by their begin, longer ones first.
  bool takes(const Span& span) {
    while (!open_.empty() && open_.back() <= span.begin_ns) open_.pop_back();
    return open_.empty() || span.end_ns <= open_.back();
  }
  void add(const Span& span) { open_.push_back(span.end_ns); }

 private:
  std::vector<int64_t> open_;  // ends of the spans that hold the present one
};

struct Lane {
  std::vector<Row> rows;
  std::vector<int> ids;
};

double microseconds(int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1000;
}

nlohmann::json name_event(const char* what, int rank, int thread, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", rank}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

std::string trace_events(int rank, const std::string& title, std::vector<Span> spans, int64_t zero_ns) {
  // Lane by lane, what computes first; then as Row wants them.
  std::stable_sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    if (a.lane != b.lane) return b.lane != "compute" && (a.lane == "compute" || a.lane < b.lane);
    return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns > b.end_ns;
  });
  std::vector<std::string> events{name_event("process_name", rank, 0, title).dump()};
  std::map<std::string, Lane> lanes;
  int threads = 0;
  for (const Span& span : spans) {
    Lane& lane = lanes[span.lane];
    const auto row = std::find_if(lane.rows.begin(), lane.rows.end(), [&](Row& each) { return each.takes(span); });
    const auto index = static_cast<size_t>(row - lane.rows.begin());
    if (row == lane.rows.end()) {
      lane.rows.emplace_back();
      lane.ids.push_back(threads++);
      const std::string name = index == 0 ? span.lane : absl::StrCat(span.lane, " ", index + 1);
      events.push_back(name_event("thread_name", rank, lane.ids.back(), name).dump());
    }
    lane.rows[index].add(span);
    nlohmann::json event{{"ph", "X"},
                         {"name", span.name},
                         {"pid", rank},
                         {"tid", lane.ids[index]},
                         {"ts", microseconds(span.begin_ns - zero_ns)},
                         {"dur", microseconds(span.end_ns - span.begin_ns)}};
    if (span.bytes > 0) event["args"] = {{"bytes", span.bytes}};
    events.push_back(event.dump());
  }
  return absl::StrJoin(events, ",\n");
}

std::string chrome_trace(std::span<const std::string> events_of_ranks) {
  return absl::StrCat("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", absl::StrJoin(events_of_ranks, ",\n"),
                      "\n]}\n");
}

}  // namespace switchyard
