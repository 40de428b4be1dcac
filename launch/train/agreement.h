// How ranks agree that something failed, so that all of them stop in good order and rank 0 speaks for them.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <utility>

#include "runtime/comm/communicator.h"

namespace switchyard {

// Collective. OK on all ranks if `mine` is OK on all; otherwise every rank returns the same error, that of the lowest
// failing rank, which says which ranks failed where not all did. Errors from here are marked as agreed.
absl::Status agree(Communicator& world, const absl::Status& mine);
// The rank's own value where all ranks have one.
template <typename T>
absl::StatusOr<T> agree(Communicator& world, absl::StatusOr<T> mine) {
  const absl::Status agreed = agree(world, mine.status());
  if (!agreed.ok()) return agreed;
  return mine;
}

// Whether all ranks hold this error and have stopped at the same place.
bool is_agreed(const absl::Status& status);

}  // namespace switchyard
