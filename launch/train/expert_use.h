// Which experts are chosen together and for tokens of which source, counted over a pass of data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/statusor.h>

#include "layers/models/decoder/decoder.h"
#include "layers/moe/router/router.h"

namespace switchyard {

inline constexpr size_t kStrongestPairs = 8;
inline constexpr int64_t kNamedSources = 16;

struct ExpertPair {
  int64_t first = 0, second = 0;
  double together = 0;
};

// Of one layer, from what its router chose before a capacity dropped any.
struct ExpertUse {
  // Of two experts, the tokens that went to both over those that went to either: the mean over all pairs, and the
  // kStrongestPairs largest, those of 0 left out.
  double coactivation = 0;
  std::vector<ExpertPair> pairs;
  // By source: of each expert's tokens, the share that the source has; [E], 0 for an expert without tokens. The first
  // kNamedSources tags have names, "(others)" are later ones, "(none)" are tokens without a tag; those that never
  // occurred are left out. Empty: the data carries no tags.
  std::vector<std::pair<std::string, std::vector<double>>> sources;
};

class ExpertUseCounter {
 public:
  // `tags`: names of the tags 0, 1, …; empty: none.
  ExpertUseCounter(const Decoder& model, const Mesh& mesh, std::vector<std::string> tags);

  // After each forward. Local.
  void add(const TokenBatch& batch);
  // By layer, over all ranks. Collective over the mesh's world.
  absl::StatusOr<std::map<int64_t, ExpertUse>> take() const;

 private:
  struct Counts {
    at::Tensor together_EE;  // int64; on the diagonal the expert's tokens
    at::Tensor of_source_NE;
  };
  static void count(const Choice& choice, const at::Tensor& sources_t, Counts& counts);
  ExpertUse summarise(const at::Tensor& together_EE, const at::Tensor& of_source_NE) const;

  const Decoder& model_;
  const Mesh& mesh_;
  std::vector<std::string> names_;  // of the sources: named tags, others, none
  std::map<int64_t, Counts> layers_;
};

}  // namespace switchyard
