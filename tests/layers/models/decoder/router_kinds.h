// Every kind of router, and every balance, gate, capacity and sharing of experts, in a small decoder.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/decoder_case.h"

namespace switchyard {

struct RouterKind {
  std::string name;
  std::function<void(MoeConfig&)> change;
};
inline void PrintTo(const RouterKind& kind, std::ostream* out) {
  *out << kind.name;
}

std::vector<RouterKind> router_kinds();

// small_decoder_case() with it, three steps.
DecoderCase case_of(const RouterKind& kind);

// Of a test for each.
std::string name_of(const testing::TestParamInfo<RouterKind>& kind);

}  // namespace switchyard
