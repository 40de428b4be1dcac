// What a person, or a program, reads of a verification.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "launch/verify/verify.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// What was verified: the head of the JSON, and lines for people.
struct VerifiedRun {
  MeshShape shape;
  std::string precision;
  std::string tokens;   // where they come from
  std::string shrunk;   // what --shrink changed; empty: nothing
  std::string planted;  // kind of a planted bug; empty: none
};

// A line for each quantity: how many tensors, the worst one with its deviation and bound, whether all hold. Where some
// do not: the worst rows, and what kind of bug gives such a picture.
std::string summary(const VerifyResult& result);
// One object: pass, what was verified, reference, steps, choices, clip factors, rows (all of them; numbers that are not
// finite are null).
std::string to_json(const VerifyResult& result, const VerifiedRun& run);
// OK where all hold; else kInternal, in one line.
absl::Status verdict(const VerifyResult& result);
// Where to look, from the first quantity that fails; empty where none does.
std::string hint(const VerifyResult& result);

}  // namespace switchyard
