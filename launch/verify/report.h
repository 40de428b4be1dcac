// What a person, or a program, reads of a verification.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "launch/verify/verify.h"

namespace switchyard {

// A line for each quantity: how many tensors, the worst one with its deviation and bound, whether all hold. Where some
// do not: the worst rows, and what kind of bug gives such a picture.
std::string summary(const VerifyResult& result);
// One object: pass, reference, steps, choices, rows (all of them; numbers that are not finite are null).
std::string to_json(const VerifyResult& result);
// OK where all hold; else kInternal, in one line.
absl::Status verdict(const VerifyResult& result);
// Where to look, from the first quantity that fails; empty where none does.
std::string hint(const VerifyResult& result);

}  // namespace switchyard
