// A network as a picture: boxes, arrows, and repeated layers folded into one frame ("x 12").
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/network.h"

namespace bertie {

struct DiagramBox {
  std::string title;                 // "linear", "add"; an input's or output's name
  std::string name;                  // the node's, without its frame's prefix; empty for inputs and outputs
  std::vector<std::string> details;  // weights' shapes, what the caller notes, the result's shape
  std::string kind;                  // what it is coloured by: see box_kinds()
  int frame = -1;                    // the folded layer it stands in
};

struct DiagramArrow {
  int from = 0, to = 0;  // boxes
};

// Boxes that stand for `times` copies of themselves.
struct DiagramFrame {
  int64_t times = 0;
  std::string first, last;  // what the copies' names begin with: "encoder.layer.0", "encoder.layer.11"
};

struct Diagram {
  std::string title;
  std::vector<DiagramBox> boxes;  // producers before consumers
  std::vector<DiagramArrow> arrows;
  std::vector<DiagramFrame> frames;
};

// `notes`: a line for the box of the node of this name, such as its kernel.
Diagram make_diagram(const Network& network, std::string title, const std::map<std::string, std::string>& notes = {});

// A stretch of nodes that is repeated: node `begin + i` of the order does what node `begin + i + k * length` does, for every k < times.
struct Repetition {
  size_t begin = 0, length = 0, times = 1;
};
// The repetitions worth folding, disjoint and ascending, in `order` (of Network::order()).
std::vector<Repetition> find_repetitions(const Network& network, std::span<const NodeId> order);

struct BoxKind {
  std::string_view name, fill, stroke;
};
std::span<const BoxKind> box_kinds();
const BoxKind& box_kind(std::string_view name);

// Where a diagram's parts stand, in pixels from its own top left corner.
struct DiagramLayout {
  struct Point {
    double x = 0, y = 0;
  };
  struct Rectangle {
    double x = 0, y = 0, width = 0, height = 0;
  };
  double width = 0, height = 0;
  std::vector<Rectangle> boxes, frames;
  std::vector<std::vector<Point>> arrows;  // from the bottom of a box, down to the top of another
};
DiagramLayout lay_out(const Diagram& diagram);

// The diagrams beside each other, top-aligned, with a legend. No script, no reference to anything outside.
std::string to_svg(std::span<const Diagram> diagrams);
// For graphviz: one cluster a diagram.
std::string to_dot(std::span<const Diagram> diagrams);

// Text for XML: markup escaped, what XML cannot hold (control characters, broken UTF-8) replaced by U+FFFD.
std::string xml_escaped(std::string_view text);

}  // namespace bertie
