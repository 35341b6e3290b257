#include <fmt/format.h>

#include "network/diagram.h"

namespace bertie {
namespace {

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + '"';
}

std::string label_of(const DiagramBox& box) {
  std::string label = box.title;
  if (!box.name.empty()) label += "\n" + box.name;
  for (const std::string& line : box.details) label += "\n" + line;
  // quoted() takes the line breaks for control characters: they are put back as graphviz spells them.
  std::string lines;
  for (size_t begin = 0; begin <= label.size();) {
    const size_t end = std::min(label.find('\n', begin), label.size());
    const std::string line = quoted(std::string_view(label).substr(begin, end - begin));
    lines += (begin == 0 ? "" : "\\n") + line.substr(1, line.size() - 2);
    begin = end + 1;
  }
  return "\"" + lines + "\"";
}

std::string box_dot(const DiagramBox& box, size_t diagram, size_t index) {
  const BoxKind& kind = box_kind(box.kind);
  return fmt::format("    d{}_{} [label={}, fillcolor=\"{}\", color=\"{}\"];\n", diagram, index, label_of(box), kind.fill,
                     kind.stroke);
}

std::string diagram_dot(const Diagram& diagram, size_t number) {
  std::string dot = fmt::format("  subgraph cluster_{} {{\n    label={};\n", number, quoted(diagram.title));
  for (size_t frame = 0; frame < diagram.frames.size(); ++frame) {
    const DiagramFrame& folded = diagram.frames[frame];
    dot += fmt::format("    subgraph cluster_{}_{} {{\n    label={};\n", number, frame,
                       quoted(fmt::format("\u00d7 {}   {} \u2026 {}", folded.times, folded.first, folded.last)));
    for (size_t i = 0; i < diagram.boxes.size(); ++i) {
      if (diagram.boxes[i].frame == static_cast<int>(frame)) dot += box_dot(diagram.boxes[i], number, i);
    }
    dot += "    }\n";
  }
  for (size_t i = 0; i < diagram.boxes.size(); ++i) {
    if (diagram.boxes[i].frame < 0) dot += box_dot(diagram.boxes[i], number, i);
  }
  for (const DiagramArrow& arrow : diagram.arrows) {
    dot += fmt::format("    d{}_{} -> d{}_{};\n", number, arrow.from, number, arrow.to);
  }
  return dot + "  }\n";
}

}  // namespace

std::string to_dot(std::span<const Diagram> diagrams) {
  std::string dot =
      "digraph network {\n  node [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", fontsize=11];\n"
      "  edge [color=\"#6b7280\"];\n  graph [fontname=\"Helvetica\", style=rounded];\n";
  for (size_t i = 0; i < diagrams.size(); ++i) dot += diagram_dot(diagrams[i], i);
  return dot + "}\n";
}

}  // namespace bertie
