// The time of a transfer of v bytes as α + β·v: a latency, and a time for each byte (R. Hockney, The communication
// challenge for MPP, 1994).
#pragma once

#include <optional>
#include <span>

namespace switchyard {

struct TimedTransfer {
  double bytes;
  double time;  // above 0
};

struct AlphaBeta {
  double alpha = 0;     // in the unit of the times
  double beta = 0;      // the same a byte
  double residual = 0;  // root mean square of the relative deviations (α + β·v) / time − 1

  double time(double bytes) const { return alpha + beta * bytes; }
};

// Least squares of the relative deviations, so that small transfers count as much as large ones, with neither α nor β
// below 0. None where there are fewer than two different sizes. Local.
std::optional<AlphaBeta> fit_alpha_beta(std::span<const TimedTransfer> transfers);

}  // namespace switchyard
