// Texts and statuses between the ranks of a group. Every call is collective; errors of its own are kCommunication.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// On rank 0 the ranks' texts in rank order, elsewhere nothing.
absl::StatusOr<std::vector<std::string>> gather_texts(const std::string& text, Communicator& group);

// Rank 0's text.
absl::StatusOr<std::string> broadcast_text(const std::string& text, Communicator& group);

// Rank 0's status, with its category.
absl::Status broadcast_status(const absl::Status& status, Communicator& group);

// Ok where every rank's is; else that of the lowest rank that failed, which it names.
absl::Status share_failure(const absl::Status& status, Communicator& group);

// A status as a text and back.
std::string encode_status(const absl::Status& status);
absl::Status decode_status(const std::string& text);

}  // namespace switchyard
