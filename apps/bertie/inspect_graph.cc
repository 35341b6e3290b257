#include "inspect_graph.h"

#include <array>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "network/diagram.h"

namespace bertie::cli {
namespace {

std::array<Diagram, 2> diagrams_of(const Model& model, const Engine& engine) {
  std::map<std::string, std::string> kernels;
  for (const StepInfo& step : engine.steps()) kernels[step.name] = fmt::format("{} \u00b7 {}", step.kernel, step.precision);
  return {make_diagram(model.network(), fmt::format("As loaded: {} nodes", model.network().order().size())),
          make_diagram(engine.network(),
                       fmt::format("After the passes: {} steps on {}", engine.steps().size(), engine.options().device), kernels)};
}

std::string passes_html(const Engine& engine) {
  std::string html;
  for (const PassReport& pass : engine.passes()) {
    html += fmt::format("<details{}><summary>{} {} <span>{} matches, {:.1f} ms</span></summary><pre>",
                        pass.lines.empty() ? "" : " open=\"open\"", pass.number, xml_escaped(pass.name), pass.matches,
                        pass.milliseconds);
    for (const std::string& line : pass.lines) html += xml_escaped(line) + "\n";
    html += "</pre></details>\n";
  }
  return html;
}

std::string steps_html(const Engine& engine) {
  std::string html =
      "<table><thead><tr><th>#</th><th>step</th><th>op</th><th>kernel</th><th>precision</th><th>output</th><th>weights</th>"
      "<th>why this kernel</th></tr></thead><tbody>\n";
  size_t number = 0;
  for (const StepInfo& step : engine.steps()) {
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{:.2f} MB</td><td>{}</td></tr>\n",
        ++number, xml_escaped(step.name), xml_escaped(step.op), xml_escaped(step.kernel), xml_escaped(step.precision),
        xml_escaped(step.output_shape), static_cast<double>(step.weight_bytes) / 1e6, xml_escaped(step.reason));
  }
  return html + "</tbody></table>\n";
}

constexpr std::string_view kStyle = R"(body { font: 14px Helvetica, Arial, sans-serif; margin: 24px; color: #111827 }
h1 { font-size: 22px } h2 { font-size: 17px; margin-top: 28px }
.picture { overflow: auto; border: 1px solid #d1d5db; border-radius: 8px }
pre { background: #f6f7f9; padding: 8px 12px; border-radius: 6px; overflow: auto; font-size: 12px }
summary { cursor: pointer; padding: 3px 0 } summary span { color: #6b7280 }
table { border-collapse: collapse; font-size: 12px } th { text-align: left; position: sticky; top: 0; background: white }
td, th { border-bottom: 1px solid #e5e7eb; padding: 3px 10px } td.n { text-align: right })";

std::string to_html(const Model& model, const Engine& engine, std::span<const Diagram> diagrams) {
  const std::string name = xml_escaped(model.info().source);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>{0}</title>\n<style>{1}</style></head><body>\n"
      "<h1>{0}</h1>\n<div class=\"picture\">{2}</div>\n<h2>Passes</h2>\n{3}<h2>Steps</h2>\n{4}</body></html>\n",
      name, kStyle, to_svg(diagrams), passes_html(engine), steps_html(engine));
}

}  // namespace

std::string graph_path_error(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  return extension == ".svg" || extension == ".dot" || extension == ".html" ? "" : path + ": .svg, .dot or .html is needed";
}

void write_graph(const std::string& path, const Model& model, const Engine& engine) {
  const auto diagrams = diagrams_of(model, engine);
  const std::string extension = std::filesystem::path(path).extension().string();
  write_file_atomically(path, extension == ".svg"   ? to_svg(diagrams)
                              : extension == ".dot" ? to_dot(diagrams)
                                                    : to_html(model, engine, diagrams));
}

}  // namespace bertie::cli
