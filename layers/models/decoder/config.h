// The `model:` section for family decoder.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "layers/attention/config.h"
#include "layers/moe/config.h"
#include "runtime/base/status.h"

namespace switchyard {

struct FeedForwardConfig {
  int64_t width = 1408;
  std::string activation = "swiglu";

  template <typename Visitor>
  void visit(Visitor& v) {
    v("width", width, "hidden width of dense feed-forward layers").at_least(1);
    v("activation", activation, "between up and down").one_of({"swiglu", "gelu", "relu"});
  }
};

struct DecoderConfig {
  std::string family = "decoder";
  int64_t width = 512;
  int64_t layers = 4;
  int64_t vocabulary = 0;
  bool tie_embeddings = false;
  double norm_epsilon = 1e-5;
  double init_scale = 0.02;
  AttentionConfig attention;
  FeedForwardConfig feed_forward;
  MoeConfig moe;

  bool is_moe_layer(int64_t layer) const {
    return moe.experts > 0 && layer >= moe.first_dense && (layer - moe.first_dense) % moe.every == 0;
  }
  int64_t moe_layer_count() const {
    int64_t count = 0;
    for (int64_t layer = 0; layer < layers; ++layer) count += is_moe_layer(layer) ? 1 : 0;
    return count;
  }

  template <typename Visitor>
  void visit(Visitor& v) {
    v("family", family, "kind of model").one_of({"decoder"});
    v("width", width, "of the residual stream").at_least(1);
    v("layers", layers, "number of blocks").at_least(1);
    v("vocabulary", vocabulary, "number of tokens; auto: the tokenizer's").at_least(0).zero_is("auto");
    v("tie_embeddings", tie_embeddings, "use the embedding as the output head too");
    v("norm_epsilon", norm_epsilon, "added to the mean square in RMSNorm").above(0);
    v("init_scale", init_scale,
      "standard deviation of initial weights; divided by sqrt(2·layers) for projections into the residual stream")
        .above(0);
    v.section("attention", attention, "self-attention");
    v.section("feed_forward", feed_forward, "the dense feed-forward layers");
    v.section("moe", moe, "the mixture-of-experts layers");
  }

  absl::Status validate() const {
    if (moe.experts == 0 || moe.share_layers == 1 || moe.share_layers <= moe_layer_count()) return absl::OkStatus();
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("moe.share_layers=", moe.share_layers, " is more than the ", moe_layer_count(),
                              " mixture layers; lower it or raise layers"));
  }
};

}  // namespace switchyard
