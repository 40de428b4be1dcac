#include "layers/attention/causal_attention_device.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace switchyard::causal_attention_on_device {
namespace {

constexpr int64_t kWidestFlashHead = 256;

// Views of a [T, (H+2·KV)·C] matrix as [T, heads, C].
struct Parts {
  at::Tensor q, k, v;
};

Parts parts_of(const at::Tensor& x_TX, HeadCounts heads) {
  const auto columns = [&](int64_t first, int64_t count) {
    return x_TX.narrow(1, first * heads.width, count * heads.width).view({x_TX.size(0), count, heads.width});
  };
  return {columns(0, heads.query), columns(heads.query, heads.key_value),
          columns(heads.query + heads.key_value, heads.key_value)};
}

double scale_of(HeadCounts heads) {
  return 1 / std::sqrt(static_cast<double>(heads.width));
}

bool flash_takes(const at::Tensor& qkv_TX, HeadCounts heads) {
  return qkv_TX.scalar_type() == at::kBFloat16 && heads.width % 8 == 0 && heads.width <= kWidestFlashHead &&
         qkv_TX.size(0) > 0;
}

int64_t longest(const std::vector<int64_t>& piece_starts) {
  int64_t length = 0;
  for (size_t i = 1; i < piece_starts.size(); ++i) length = std::max(length, piece_starts[i] - piece_starts[i - 1]);
  return length;
}

at::Tensor starts_on_device(const std::vector<int64_t>& piece_starts, const at::Tensor& like) {
  return at::tensor(piece_starts, at::kInt).to(like.device());
}

// [T, heads, C] rows of a piece → [KV, queries a key head · rows, C]: heads that share a key lie together.
at::Tensor grouped(const at::Tensor& x_THC, int64_t begin, int64_t rows, int64_t key_value) {
  const int64_t heads = x_THC.size(1), width = x_THC.size(2);
  return x_THC.narrow(0, begin, rows).transpose(0, 1).reshape({key_value, heads / key_value * rows, width});
}

// The reverse, into rows of [T, heads, C].
void ungroup(const at::Tensor& from, const at::Tensor& to_THC, int64_t begin, int64_t rows) {
  const int64_t heads = to_THC.size(1), width = to_THC.size(2);
  to_THC.narrow(0, begin, rows).copy_(from.view({heads, rows, width}).transpose(0, 1));
}

at::Tensor wide(const at::Tensor& x, const at::Tensor& log_sums_HT) {
  return x.to(log_sums_HT.scalar_type());
}

// scores of [KV, group·rows, rows], −∞ where a key comes after its query.
at::Tensor masked_scores(const at::Tensor& q, const at::Tensor& k, double scale) {
  const int64_t rows = k.size(1);
  const at::Tensor scores = at::bmm(q, k.transpose(1, 2)).mul_(scale);
  const at::Tensor later = at::ones({rows, rows}, scores.options().dtype(at::kBool)).triu_(1);
  scores.view({k.size(0), -1, rows, rows}).masked_fill_(later, -std::numeric_limits<double>::infinity());
  return scores;
}

template <typename Body>
void for_each_piece(const std::vector<int64_t>& piece_starts, const Body& body) {
  for (size_t i = 0; i + 1 < piece_starts.size(); ++i) {
    if (piece_starts[i + 1] > piece_starts[i]) body(piece_starts[i], piece_starts[i + 1] - piece_starts[i]);
  }
}

}  // namespace

void forward(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads, at::Tensor& out_TY,
             at::Tensor& log_sums_HT, at::Tensor& state) {
  const Parts x = parts_of(qkv_TX, heads);
  if (flash_takes(qkv_TX, heads)) {
    const at::Tensor starts = starts_on_device(piece_starts, qkv_TX);
    const int64_t most = longest(piece_starts);
    const auto result =
        at::_flash_attention_forward(x.q, x.k, x.v, starts, starts, most, most, 0.0, true, false, scale_of(heads));
    out_TY = std::get<0>(result).view({qkv_TX.size(0), heads.query * heads.width});
    log_sums_HT = std::get<1>(result);
    state = std::get<2>(result);
    return;
  }
  const at::Tensor out_THC = out_TY.view({out_TY.size(0), heads.query, heads.width});
  for_each_piece(piece_starts, [&](int64_t begin, int64_t rows) {
    const at::Tensor q = wide(grouped(x.q, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor k = wide(grouped(x.k, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor v = wide(grouped(x.v, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor scores = masked_scores(q, k, scale_of(heads));
    const at::Tensor log_sums = scores.logsumexp(2);
    ungroup(at::bmm(scores.sub_(log_sums.unsqueeze(2)).exp_(), v), out_THC, begin, rows);
    log_sums_HT.narrow(1, begin, rows).copy_(log_sums.view({heads.query, rows}));
  });
}

void backward(const at::Tensor& g_TY, const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts,
              HeadCounts heads, const at::Tensor& out_TY, const at::Tensor& log_sums_HT, const at::Tensor& state,
              const at::Tensor& dqkv_TX) {
  const Parts x = parts_of(qkv_TX, heads), d = parts_of(dqkv_TX, heads);
  const auto by_head = [&](const at::Tensor& y_TY) { return y_TY.view({y_TY.size(0), heads.query, heads.width}); };
  if (state.defined()) {
    const at::Tensor starts = starts_on_device(piece_starts, qkv_TX);
    const int64_t most = longest(piece_starts);
    const auto [dq, dk, dv] =
        at::_flash_attention_backward(by_head(g_TY), x.q, x.k, x.v, by_head(out_TY), log_sums_HT, starts, starts, most,
                                      most, 0.0, true, state, at::empty({}, state.options()), scale_of(heads));
    d.q.copy_(dq);
    d.k.copy_(dk);
    d.v.copy_(dv);
    return;
  }
  const at::Tensor g_THC = by_head(g_TY), out_THC = by_head(out_TY);
  for_each_piece(piece_starts, [&](int64_t begin, int64_t rows) {
    const at::Tensor q = wide(grouped(x.q, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor k = wide(grouped(x.k, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor v = wide(grouped(x.v, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor g = wide(grouped(g_THC, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor out = wide(grouped(out_THC, begin, rows, heads.key_value), log_sums_HT);
    const at::Tensor log_sums = log_sums_HT.narrow(1, begin, rows).reshape({heads.key_value, -1, 1});
    const at::Tensor weights = masked_scores(q, k, scale_of(heads)).sub_(log_sums).exp_();
    const at::Tensor delta = (g * out).sum(2, true);
    ungroup(at::bmm(weights.transpose(1, 2), g), d.v, begin, rows);
    const at::Tensor dscores = at::bmm(g, v.transpose(1, 2)).sub_(delta).mul_(weights).mul_(scale_of(heads));
    ungroup(at::bmm(dscores, k), d.q, begin, rows);
    ungroup(at::bmm(dscores.transpose(1, 2), q), d.k, begin, rows);
  });
}

}  // namespace switchyard::causal_attention_on_device
