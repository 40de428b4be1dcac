// The attention section of a model's config.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {

struct AttentionConfig {
  std::string kind = "gqa";
  int64_t heads = 8;
  int64_t kv_heads = 4;
  int64_t head_width = 64;
  double rope_theta = 10000;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "gqa: grouped-query attention").one_of({"gqa"});
    v("heads", heads, "query heads").at_least(1);
    v("kv_heads", kv_heads, "key and value heads; divides heads").at_least(1);
    v("head_width", head_width, "elements of a head; even").at_least(2);
    v("rope_theta", rope_theta, "base of the rotary positions' wavelengths").above(0);
  }

  absl::Status validate() const {
    if (heads % kv_heads != 0) {
      return error(ErrorCategory::kBadConfig,
                   absl::StrCat("heads ", heads, " is not a multiple of kv_heads ", kv_heads,
                                ": every key and value head serves equally many query heads"));
    }
    if (head_width % 2 != 0) {
      return error(ErrorCategory::kBadConfig,
                   absl::StrCat("head_width ", head_width, " is odd: rotary positions turn pairs of elements"));
    }
    return absl::OkStatus();
  }
};

}  // namespace switchyard
