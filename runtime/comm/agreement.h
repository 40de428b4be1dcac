// How ranks agree that something failed, so that all of them stop in good order and rank 0 speaks for them. Every call
// with a communicator is collective; where the ranks cannot talk, its own kCommunication error comes back.
#pragma once

#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// OK on all ranks if `mine` is OK on all; otherwise every rank returns the same error, that of the lowest failing rank,
// which says which ranks failed where not all did. Errors from here are marked as agreed.
absl::Status agree(Communicator& group, const absl::Status& mine);
// The rank's own value where all ranks have one.
template <typename T>
absl::StatusOr<T> agree(Communicator& group, absl::StatusOr<T> mine) {
  const absl::Status agreed = agree(group, mine.status());
  if (!agreed.ok()) return agreed;
  return mine;
}

// Whether all ranks hold this error and have stopped at the same place.
bool is_agreed(const absl::Status& status);

// Rank 0's status, with its category; those of the others do not count.
absl::Status broadcast_status(Communicator& group, const absl::Status& status);

// A status as a text and back: category and message.
std::string encode_status(const absl::Status& status);
absl::Status decode_status(const std::string& text);

}  // namespace switchyard
