#include "launch/explain/report.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

Explanation small_explanation() {
  LayerTrace trace;
  trace.layer = 1;
  trace.experts = 2;
  trace.offsets = {0, 1, 3};
  trace.chosen = {1, 0, 1};
  trace.kept = {true, true, true};
  trace.weights = {1, 0.75, 0.25};
  trace.probabilities = {0.9, 0.75, 0.25};
  trace.scores = {1.5, 0.5, 0.25};
  trace.margins = {0.8, std::nan(""), std::nan("")};
  trace.similarity = {{1, 0.5}, {0.5, 1}};
  return {.checkpoint = "runs/x/checkpoints/step-00000003",
          .step = 3,
          .source = "a </script> text",
          .router = "sinkhorn",
          .choice = {.how = "By logit.", .score = "logit"},
          .ids = {4, 5},
          .texts = {"</script>", "\xff"},
          .piece_starts = {0},
          .layers = {trace}};
}

TEST(ExplanationJson, HoldsTheTraceAndItsSummary) {
  const auto json = nlohmann::json::parse(explanation_json(small_explanation()));
  EXPECT_EQ(json.at("step"), 3);
  EXPECT_EQ(json.at("texts").at(0), "</script>");
  EXPECT_EQ(json.at("texts").at(1), "\xEF\xBF\xBD");  // bytes that are no text
  const auto& layer = json.at("layers").at(0);
  EXPECT_EQ(layer.at("name"), "layer 1");
  EXPECT_EQ(layer.at("experts"), nlohmann::json({1, 0, 1}));
  EXPECT_EQ(json.at("choice"), nlohmann::json({{"how", "By logit."}, {"score", "logit"}, {"experts_choose", false}}));
  EXPECT_EQ(layer.at("kept"), nlohmann::json({true, true, true}));
  EXPECT_EQ(layer.at("scores"), nlohmann::json({1.5, 0.5, 0.25}));
  EXPECT_EQ(layer.at("margins").at(0), 0.8);
  EXPECT_TRUE(layer.at("margins").at(1).is_null());
  EXPECT_EQ(layer.at("load"), nlohmann::json({1.0 / 3, 2.0 / 3}));
  EXPECT_EQ(layer.at("coactivation").at(0), nlohmann::json({1.0, 1.0}));
}

TEST(ExplanationPage, CarriesTheDataAndNothingInItEndsTheScript) {
  const std::string json = explanation_json(small_explanation());
  const std::string page = explanation_page(json);
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  const size_t end = page.find("</script>", begin);
  EXPECT_EQ(nlohmann::json::parse(page.substr(begin, end - begin)), nlohmann::json::parse(json));
  // Self-contained: nothing is fetched.
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
}

TEST(ExplanationTable, SaysHowWhereAndWhatWasDropped) {
  Explanation explanation = small_explanation();
  EXPECT_EQ(explanation_table(explanation).find("dropped"), std::string::npos);
  const std::string table = explanation_table(explanation);
  EXPECT_EQ(table.find("By logit."), 0);
  EXPECT_NE(table.find("layer 1: 2 experts"), std::string::npos);
  EXPECT_NE(table.find("expert   1   66.7 %"), std::string::npos);
  explanation.layers[0].kept[2] = false;
  EXPECT_NE(explanation_table(explanation).find("1 of 3 slots dropped"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
