#include "network/diagram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor zeros(const Shape& shape) { return Tensor::from_floats(shape, std::vector<float>(static_cast<size_t>(shape.elements()))); }

// An embedding that ends as a layer does, `layers` encoder layers of seven nodes, a head.
Network encoder(int layers) {
  Network n;
  const ValueId ids = n.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const ValueId mask = n.add_input("attention_mask", DType::i64, {"batch", "sequence"});
  ValueId x = n.add_embedding(n.add_constant("words", zeros({10, 4})), ids, "words");
  x = n.add_gelu(x, "none", "activation");
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "encoder.layer." + std::to_string(i) + ".";
    const auto linear = [&](ValueId input, const char* name) {
      return n.add_linear(input, n.add_constant(layer + name + ".weight", zeros({4, 4})), kNone, layer + name);
    };
    const ValueId q = linear(x, "query"), k = linear(x, "key"), v = linear(x, "value");
    const ValueId context = n.add_attention(q, k, v, mask, kNone, 2, 0.5, layer + "attention");
    const ValueId sum = n.add_elementwise("add", linear(context, "output"), x, layer + "add");
    x = n.add_gelu(sum, "none", layer + "gelu");
  }
  n.add_output("hidden", x);
  n.add_output("scores", n.add_pool(x, mask, "mean", "pool"));
  return n;
}

TEST(Repetition, LayersAreFound) {
  for (int layers : {1, 2, 3, 12}) {
    const Network network = encoder(layers);
    const auto found = find_repetitions(network, network.order());
    if (layers == 1) {
      EXPECT_TRUE(found.empty());
      continue;
    }
    ASSERT_EQ(found.size(), 1u) << layers;
    EXPECT_EQ(found[0].begin, 2u);  // where the names say, not at the embedding's gelu
    EXPECT_EQ(found[0].length, 7u);
    EXPECT_EQ(found[0].times, static_cast<size_t>(layers));
  }
}

TEST(Repetition, ALayerThatDiffersIsNotFolded) {
  Network network = encoder(6);
  for (NodeId id : network.order()) {
    if (network.node(id).name == "encoder.layer.3.attention") network.mutable_node(id).attributes["scale"] = 0.25;
  }
  const auto found = find_repetitions(network, network.order());
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].times, 3u);
}

TEST(Repetition, AnOrderWithoutAnyAndAnEmptyOne) {
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {3});
  network.add_output("x", x);
  EXPECT_TRUE(find_repetitions(network, network.order()).empty());
  EXPECT_EQ(make_diagram(network, "empty").boxes.size(), 2u);
  EXPECT_THAT(to_svg(std::vector{make_diagram(network, "empty")}), HasSubstr("</svg>"));
}

TEST(Diagram, FoldsLayersAndShortensNames) {
  const Diagram diagram = make_diagram(encoder(12), "before", {{"encoder.layer.0.query", "panel gemm"}});
  ASSERT_EQ(diagram.frames.size(), 1u);
  EXPECT_EQ(diagram.frames[0].times, 12);
  EXPECT_EQ(diagram.frames[0].first, "encoder.layer.0");
  EXPECT_EQ(diagram.frames[0].last, "encoder.layer.11");
  EXPECT_EQ(diagram.boxes.size(), 2u + 2 + 7 + 1 + 2);  // inputs, embedding, one layer, pool, outputs
  const auto query =
      std::find_if(diagram.boxes.begin(), diagram.boxes.end(), [](const DiagramBox& b) { return b.name == "query"; });
  ASSERT_NE(query, diagram.boxes.end());
  EXPECT_THAT(query->details, ElementsAre("f32 [4, 4]", "panel gemm", "\u2192 [batch, sequence, 4]"));
  EXPECT_EQ(query->kind, "product");
  // The pool reads the last layer, which is drawn as the first.
  std::vector<std::string> sources;
  for (const DiagramArrow& arrow : diagram.arrows) {
    EXPECT_LT(arrow.from, arrow.to);
    if (diagram.boxes[static_cast<size_t>(arrow.to)].name == "pool") {
      sources.push_back(diagram.boxes[static_cast<size_t>(arrow.from)].title);
    }
  }
  EXPECT_THAT(sources, ElementsAre("gelu", "attention_mask"));
}

TEST(Diagram, LayoutKeepsBoxesApartAndArrowsDownwards) {
  for (int layers : {0, 1, 4}) {
    const Diagram diagram = make_diagram(encoder(layers), "x");
    const DiagramLayout layout = lay_out(diagram);
    ASSERT_EQ(layout.boxes.size(), diagram.boxes.size());
    ASSERT_EQ(layout.arrows.size(), diagram.arrows.size());
    for (size_t i = 0; i < layout.boxes.size(); ++i) {
      const auto& a = layout.boxes[i];
      EXPECT_GE(a.x, 0);
      EXPECT_LE(a.x + a.width, layout.width + 1e-6);
      EXPECT_LE(a.y + a.height, layout.height + 1e-6);
      for (size_t k = i + 1; k < layout.boxes.size(); ++k) {
        const auto& b = layout.boxes[k];
        const bool apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
        EXPECT_TRUE(apart) << diagram.boxes[i].title << " and " << diagram.boxes[k].title;
      }
      const int frame = diagram.boxes[i].frame;
      for (size_t k = 0; k < layout.frames.size(); ++k) {
        const auto& f = layout.frames[k];
        const bool within = a.x >= f.x && a.y >= f.y && a.x + a.width <= f.x + f.width && a.y + a.height <= f.y + f.height;
        EXPECT_EQ(within, frame == static_cast<int>(k)) << diagram.boxes[i].title;
      }
    }
    for (const auto& arrow : layout.arrows) {
      for (size_t k = 1; k < arrow.size(); ++k) EXPECT_LE(arrow[k - 1].y, arrow[k].y);
    }
  }
}

TEST(Diagram, NamesAreEscaped) {
  EXPECT_EQ(xml_escaped("a<b>&\"c\"'\n"), "a&lt;b&gt;&amp;&quot;c&quot;'\n");
  EXPECT_EQ(xml_escaped("caf\u00e9 \u4e2d \U0001f600"), "caf\u00e9 \u4e2d \U0001f600");
  const std::string replaced = "\ufffd";
  EXPECT_EQ(xml_escaped(std::string_view("\0x\x1b", 3)), replaced + "x" + replaced);
  EXPECT_EQ(xml_escaped("\xff\xc0\xaf"), replaced + replaced + replaced);
  EXPECT_EQ(xml_escaped("\xed\xa0\x80"), replaced + replaced + replaced);  // a surrogate
  EXPECT_EQ(xml_escaped("\xef\xbf\xbf"), replaced + replaced + replaced);  // U+FFFF
  EXPECT_EQ(xml_escaped("\xe4\xb8"), replaced + replaced);                 // cut short
  Network network;
  const ValueId x = network.add_input("in <&>\"\\", DType::f32, {"a\"b<"});
  network.add_output("out\n\"]", network.add_unary("relu", x, "</svg>\"\\\x01"));
  const std::vector<Diagram> diagrams = {make_diagram(network, "\"<t>\\")};
  EXPECT_THAT(to_svg(diagrams), HasSubstr("in &lt;&amp;&gt;&quot;\\"));
  EXPECT_THAT(to_svg(diagrams), HasSubstr("&lt;/svg&gt;&quot;\\\ufffd"));
  const std::string dot = to_dot(diagrams);
  EXPECT_THAT(dot, HasSubstr("\"in <&>\\\"\\\\\\n"));
  EXPECT_THAT(dot, HasSubstr("label=\"\\\"<t>\\\\\""));
  for (char c : dot) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

TEST(Diagram, DotHasOneClusterAFrame) {
  const std::string dot = to_dot(std::vector{make_diagram(encoder(3), "before"), make_diagram(encoder(3), "after")});
  EXPECT_THAT(dot, HasSubstr("subgraph cluster_0_0"));
  EXPECT_THAT(dot, HasSubstr("subgraph cluster_1_0"));
  EXPECT_THAT(dot, HasSubstr("\u00d7 3   encoder.layer.0 \u2026 encoder.layer.2"));
}

TEST(Diagram, EveryKindHasItsColours) {
  for (const BoxKind& kind : box_kinds()) EXPECT_EQ(box_kind(kind.name).fill, kind.fill);
  EXPECT_EQ(box_kind("no such kind").name, "other");
}

}  // namespace
}  // namespace bertie
