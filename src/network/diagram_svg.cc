#include <fmt/format.h>

#include <algorithm>

#include "network/diagram.h"

namespace bertie {
namespace {

constexpr double kMargin = 24, kHeader = 44, kBetween = 56, kLegend = 40;
constexpr double kLineHeight = 15, kPadding = 8;

// Bytes of the UTF-8 sequence that `text` begins with, 0 where it begins with none.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF, and the two that XML names: U+FFFE, U+FFFF.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f)) return 0;
  if ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) return 0;
  if (lead == 0xef && byte(1) == 0xbf && byte(2) >= 0xbe) return 0;
  return length;
}

std::string text(double x, double y, std::string_view style, std::string_view content) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, style, xml_escaped(content));
}

std::string path_of(const std::vector<DiagramLayout::Point>& points) {
  std::string path = fmt::format("M{:.1f} {:.1f}", points[0].x, points[0].y);
  for (size_t i = 1; i < points.size(); ++i) {
    const auto& a = points[i - 1];
    const auto& b = points[i];
    const double middle = (a.y + b.y) / 2;
    path += fmt::format(" C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", a.x, middle, b.x, middle, b.x, b.y);
  }
  return path;
}

std::string box_svg(const DiagramBox& box, const DiagramLayout::Rectangle& at) {
  const BoxKind& kind = box_kind(box.kind);
  const bool end = box.kind == "input" || box.kind == "output";
  std::string svg = fmt::format(
      "<g><title>{}</title><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{}\" fill=\"{}\" "
      "stroke=\"{}\"/>\n",
      xml_escaped(box.name.empty() ? box.title : box.name), at.x, at.y, at.width, at.height, end ? 14 : 5, kind.fill,
      kind.stroke);
  const double x = at.x + at.width / 2;
  double y = at.y + kPadding + 11;
  svg += text(x, y, "title", box.title);
  if (!box.name.empty()) svg += text(x, y += kLineHeight, "name", box.name);
  for (const std::string& line : box.details) svg += text(x, y += kLineHeight, "detail", line);
  return svg + "</g>\n";
}

std::string frame_svg(const DiagramLayout::Rectangle& at) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"10\" class=\"frame\"/>\n"
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"10\" class=\"frame\"/>\n",
      at.x + 6, at.y + 6, at.width, at.height, at.x, at.y, at.width, at.height);
}

std::string frame_label(const DiagramFrame& frame, const DiagramLayout::Rectangle& at) {
  std::string label = fmt::format("\u00d7 {}", frame.times);
  if (!frame.first.empty()) label += fmt::format("   {} \u2026 {}", frame.first, frame.last);
  return text(at.x + 14, at.y + 19, "times", label);
}

std::string diagram_svg(const Diagram& diagram, const DiagramLayout& layout) {
  std::string svg;
  for (size_t i = 0; i < diagram.frames.size(); ++i) svg += frame_svg(layout.frames[i]);
  for (const auto& points : layout.arrows) svg += fmt::format("<path d=\"{}\" class=\"arrow\"/>\n", path_of(points));
  for (size_t i = 0; i < diagram.frames.size(); ++i) svg += frame_label(diagram.frames[i], layout.frames[i]);
  for (size_t i = 0; i < diagram.boxes.size(); ++i) svg += box_svg(diagram.boxes[i], layout.boxes[i]);
  return svg;
}

std::string legend_svg(double y) {
  std::string svg;
  double x = 0;
  for (const BoxKind& kind : box_kinds()) {
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"14\" height=\"14\" rx=\"3\" fill=\"{}\" stroke=\"{}\"/>", x, y,
                       kind.fill, kind.stroke);
    svg += text(x + 20, y + 11, "legend", kind.name);
    x += 36 + 7 * static_cast<double>(kind.name.size());
  }
  return svg;
}

double legend_width() {
  double width = 0;
  for (const BoxKind& kind : box_kinds()) width += 36 + 7 * static_cast<double>(kind.name.size());
  return width;
}

constexpr std::string_view kStyle = R"(<style>
text { font-family: Helvetica, Arial, "Liberation Sans", sans-serif; text-anchor: middle; fill: #111827 }
.heading { font-size: 18px; font-weight: bold; text-anchor: start }
.title { font-size: 13px; font-weight: bold }
.name { font-size: 11px; fill: #374151 }
.detail { font-size: 11px; fill: #4b5563 }
.times { font-size: 13px; font-weight: bold; text-anchor: start; fill: #1e3a8a; stroke: #fafbff; stroke-width: 4; paint-order: stroke }
.legend { font-size: 11px; text-anchor: start; fill: #374151 }
.frame { fill: #fafbff; stroke: #93a4c8; stroke-width: 1.2 }
.arrow { fill: none; stroke: #6b7280; stroke-width: 1.2; marker-end: url(#head) }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0.8 L7.5 4 L0 7.2 Z" fill="#6b7280"/></marker></defs>
)";

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length == 0 || (first < 0x20 && first != '\t' && first != '\n') || first == 0x7f) {
      escaped += "\ufffd";
    } else if (first == '&') {
      escaped += "&amp;";
    } else if (first == '<') {
      escaped += "&lt;";
    } else if (first == '>') {
      escaped += "&gt;";
    } else if (first == '"') {
      escaped += "&quot;";
    } else {
      escaped += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return escaped;
}

std::string to_svg(std::span<const Diagram> diagrams) {
  std::string content;
  double x = kMargin, height = 0;
  for (const Diagram& diagram : diagrams) {
    const DiagramLayout layout = lay_out(diagram);
    content += text(x, kMargin + 16, "heading", diagram.title);
    content +=
        fmt::format("<g transform=\"translate({:.1f} {:.1f})\">\n{}</g>\n", x, kMargin + kHeader, diagram_svg(diagram, layout));
    x += std::max(layout.width, 11.0 * static_cast<double>(diagram.title.size())) + kBetween;
    height = std::max(height, layout.height);
  }
  const double legend = kMargin + kHeader + height + 32;
  content += fmt::format("<g transform=\"translate({:.1f} 0)\">{}</g>\n", kMargin, legend_svg(legend));
  const double width = std::max(x - kBetween, legend_width() + kMargin) + kMargin;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\">\n{2}"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{3}</svg>\n",
      width, legend + kLegend, kStyle, content);
}

}  // namespace bertie
