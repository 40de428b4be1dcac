// What a person sees of a run: one parseable line a step,
//   step=12/1000 loss=6.1234 grad_norm=0.812 lr=3.000e-04 tokens/s=12345 step_s=0.512 mem_GiB=1.23 imbalance=1.45
//   mfu=31.2% eta=0:12:34
// (one line; keys without a value are left out; skipped=1 and validation_loss= follow where they apply), and, on a
// terminal only, a line that shows how far the present step is and is overwritten by the next.
#pragma once

#include <ostream>
#include <string>

#include "launch/train/metrics.h"

namespace switchyard {

// `seconds_left` < 0: unknown.
std::string step_line(const StepMetrics& metrics, int64_t steps, double seconds_left);

// True where standard output ends on a terminal. Open MPI gives ranks a terminal of its own even when mpirun's output
// goes to a file, so the parent's standard output must be one as well.
bool output_is_terminal();

class Console {
 public:
  // `first_step`: steps already done when the run (re)started, for the time that is left.
  Console(std::ostream& out, bool terminal, int64_t first_step, int64_t steps)
      : out_(out), terminal_(terminal), first_step_(first_step), steps_(steps) {}

  void line(const std::string& text);
  void progress(int64_t step);
  // `elapsed_seconds`: since the run (re)started.
  void step(const StepMetrics& metrics, double elapsed_seconds);

 private:
  void clear_progress();

  std::ostream& out_;
  bool terminal_;
  bool progress_shown_ = false;
  int64_t first_step_;
  int64_t steps_;
};

}  // namespace switchyard
