// A layered layout (Sugiyama, Tagawa and Toda 1981): boxes in rows, producers above consumers; rows ordered by barycentres, columns by
// least squares under the order.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "network/diagram.h"

namespace bertie {
namespace {

constexpr double kLineHeight = 15, kPadding = 8, kCharacter = 6.4, kTitleCharacter = 7.6;
constexpr double kColumnGap = 26, kRowGap = 30, kFrameMargin = 14, kFrameLabel = 22;

// Code points, for the width of a text.
size_t characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// A box, or a place where a long arrow passes a row.
struct Spot {
  int box = -1;
  int frame = -1;
  int row = 0;
  double width = 0, x = 0;  // the middle
  std::vector<int> up, down;
};

class Layout {
 public:
  explicit Layout(const Diagram& diagram) : diagram_(diagram) {}

  DiagramLayout make() {
    measure();
    assign_rows();
    make_spots();
    for (int sweep = 0; sweep < 12; ++sweep) order_rows(sweep % 2 == 0);
    for (int sweep = 0; sweep < 40; ++sweep) place_columns(sweep % 2 == 0);
    place_rows();
    trace_arrows();
    shift();
    return std::move(result_);
  }

 private:
  size_t count() const { return diagram_.boxes.size(); }

  void measure() {
    for (const DiagramBox& box : diagram_.boxes) {
      double width = static_cast<double>(characters(box.title)) * kTitleCharacter;
      size_t lines = 1 + box.details.size() + (box.name.empty() ? 0 : 1);
      width = std::max(width, static_cast<double>(characters(box.name)) * kCharacter);
      for (const std::string& line : box.details) width = std::max(width, static_cast<double>(characters(line)) * kCharacter);
      result_.boxes.push_back(
          {0, 0, std::max(width + 2 * kPadding, 90.0), static_cast<double>(lines) * kLineHeight + 2 * kPadding});
    }
  }

  // The longest way down to each box. A frame's boxes have rows of their own: below all that it reads, above all that reads it.
  void assign_rows() {
    rows_.assign(count(), 0);
    std::vector<int> top(diagram_.frames.size(), 0), bottom(diagram_.frames.size(), 0);
    const auto frame_of = [&](int box) { return diagram_.boxes[static_cast<size_t>(box)].frame; };
    for (size_t round = 0; round <= diagram_.frames.size(); ++round) {
      for (size_t i = 0; i < count(); ++i) {
        const int frame = diagram_.boxes[i].frame;
        if (frame >= 0) rows_[i] = std::max(rows_[i], top[static_cast<size_t>(frame)]);
        for (const DiagramArrow& arrow : diagram_.arrows) {
          if (arrow.to != static_cast<int>(i)) continue;
          const int source = frame_of(arrow.from);
          int row = rows_[static_cast<size_t>(arrow.from)] + 1;
          if (source >= 0 && source != frame) row = std::max(row, bottom[static_cast<size_t>(source)] + 1);
          rows_[i] = std::max(rows_[i], row);
        }
        if (frame >= 0) bottom[static_cast<size_t>(frame)] = std::max(bottom[static_cast<size_t>(frame)], rows_[i]);
      }
      for (const DiagramArrow& arrow : diagram_.arrows) {
        const int frame = frame_of(arrow.to);
        if (frame < 0 || frame_of(arrow.from) == frame) continue;
        top[static_cast<size_t>(frame)] = std::max(top[static_cast<size_t>(frame)], rows_[static_cast<size_t>(arrow.from)] + 1);
      }
    }
    // Inputs stand right above what reads them first, outside frames.
    for (size_t i = 0; i < count(); ++i) {
      if (diagram_.boxes[i].kind != "input") continue;
      int first = INT32_MAX;
      for (const DiagramArrow& arrow : diagram_.arrows) {
        if (arrow.from != static_cast<int>(i)) continue;
        const int frame = frame_of(arrow.to);
        first = std::min(first, frame >= 0 ? top[static_cast<size_t>(frame)] : rows_[static_cast<size_t>(arrow.to)]);
      }
      if (first != INT32_MAX) rows_[i] = std::max(0, first - 1);
    }
  }

  void make_spots() {
    const int last = rows_.empty() ? 0 : *std::max_element(rows_.begin(), rows_.end());
    order_.resize(static_cast<size_t>(last) + 1);
    for (size_t i = 0; i < count(); ++i) {
      spots_.push_back({static_cast<int>(i), diagram_.boxes[i].frame, rows_[i], result_.boxes[i].width, 0, {}, {}});
      order_[static_cast<size_t>(rows_[i])].push_back(static_cast<int>(i));
    }
    for (const DiagramArrow& arrow : diagram_.arrows) {
      std::vector<int> way = {arrow.from};
      const int frame_above = diagram_.boxes[static_cast<size_t>(arrow.from)].frame;
      const int frame = diagram_.boxes[static_cast<size_t>(arrow.to)].frame == frame_above ? frame_above : -1;
      for (int row = rows_[static_cast<size_t>(arrow.from)] + 1; row < rows_[static_cast<size_t>(arrow.to)]; ++row) {
        way.push_back(static_cast<int>(spots_.size()));
        order_[static_cast<size_t>(row)].push_back(way.back());
        spots_.push_back({-1, frame, row, 10, 0, {}, {}});
      }
      way.push_back(arrow.to);
      for (size_t i = 0; i + 1 < way.size(); ++i) {
        spots_[static_cast<size_t>(way[i])].down.push_back(way[i + 1]);
        spots_[static_cast<size_t>(way[i + 1])].up.push_back(way[i]);
      }
      ways_.push_back(std::move(way));
    }
    for (auto& row : order_) number(row);
  }

  void number(const std::vector<int>& row) {
    for (size_t i = 0; i < row.size(); ++i)
      spots_[static_cast<size_t>(row[i])].x = static_cast<double>(i) - static_cast<double>(row.size()) / 2;
  }

  template <typename Visit>
  void for_each_row(bool downwards, Visit visit) {
    for (size_t i = 0; i < order_.size(); ++i) visit(order_[downwards ? i : order_.size() - 1 - i]);
  }

  // The mean place of what a spot is tied to in the rows already visited; its own where it is tied to nothing.
  double wish(const Spot& spot, bool downwards) const {
    const std::vector<int>& near = downwards ? spot.up : spot.down;
    if (near.empty()) return spot.x;
    double sum = 0;
    for (int other : near) sum += spots_[static_cast<size_t>(other)].x;
    return sum / static_cast<double>(near.size());
  }

  void order_rows(bool downwards) {
    for_each_row(downwards, [&](std::vector<int>& row) {
      std::vector<std::pair<double, int>> wishes;
      for (int spot : row) wishes.emplace_back(wish(spots_[static_cast<size_t>(spot)], downwards), spot);
      std::stable_sort(wishes.begin(), wishes.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      for (size_t i = 0; i < row.size(); ++i) row[i] = wishes[i].second;
      number(row);
    });
  }

  double gap(const Spot& a, const Spot& b) const {
    const double margin = a.frame != b.frame ? kFrameMargin : 0;
    return (a.width + b.width) / 2 + kColumnGap + margin;
  }

  // Isotonic regression: the places nearest to the wishes among those that keep the order and the gaps.
  void place_columns(bool downwards) {
    for_each_row(downwards, [&](std::vector<int>& row) {
      struct Block {
        double sum;
        size_t size;
        double mean() const { return sum / static_cast<double>(size); }
      };
      std::vector<double> offsets(row.size(), 0);
      std::vector<Block> blocks;
      for (size_t i = 0; i < row.size(); ++i) {
        const Spot& spot = spots_[static_cast<size_t>(row[i])];
        if (i > 0) offsets[i] = offsets[i - 1] + gap(spots_[static_cast<size_t>(row[i - 1])], spot);
        blocks.push_back({wish(spot, downwards) - offsets[i], 1});
        while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() >= blocks.back().mean()) {
          const Block last = blocks.back();
          blocks.pop_back();
          blocks.back() = {blocks.back().sum + last.sum, blocks.back().size + last.size};
        }
      }
      size_t next = 0;
      for (const Block& block : blocks) {
        for (size_t i = 0; i < block.size; ++i, ++next) spots_[static_cast<size_t>(row[next])].x = block.mean() + offsets[next];
      }
    });
  }

  // The rows' heights, and rectangles of boxes and frames.
  void place_rows() {
    std::vector<int> first(diagram_.frames.size(), INT32_MAX);
    for (size_t i = 0; i < count(); ++i) {
      const int frame = diagram_.boxes[i].frame;
      if (frame >= 0) first[static_cast<size_t>(frame)] = std::min(first[static_cast<size_t>(frame)], rows_[i]);
    }
    double y = 0;
    row_top_.resize(order_.size());
    row_bottom_.resize(order_.size());
    for (size_t row = 0; row < order_.size(); ++row) {
      if (std::find(first.begin(), first.end(), static_cast<int>(row)) != first.end()) y += kFrameLabel + kFrameMargin;
      double height = 0;
      for (int spot : order_[row]) {
        if (spots_[static_cast<size_t>(spot)].box >= 0)
          height = std::max(height, result_.boxes[static_cast<size_t>(spot)].height);
      }
      row_top_[row] = y;
      row_bottom_[row] = y + height;
      for (int spot : order_[row]) {
        if (spots_[static_cast<size_t>(spot)].box < 0) continue;
        auto& box = result_.boxes[static_cast<size_t>(spot)];
        box.x = spots_[static_cast<size_t>(spot)].x - box.width / 2;
        box.y = y + (height - box.height) / 2;
      }
      y += height + kRowGap;
    }
    for (size_t frame = 0; frame < diagram_.frames.size(); ++frame) result_.frames.push_back(around(static_cast<int>(frame)));
  }

  DiagramLayout::Rectangle around(int frame) const {
    double left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
    for (size_t i = 0; i < count(); ++i) {
      if (diagram_.boxes[i].frame != frame) continue;
      const auto& box = result_.boxes[i];
      left = std::min(left, box.x);
      top = std::min(top, box.y);
      right = std::max(right, box.x + box.width);
      bottom = std::max(bottom, box.y + box.height);
    }
    for (const Spot& spot : spots_) {
      if (spot.frame != frame || spot.box >= 0) continue;
      left = std::min(left, spot.x);
      right = std::max(right, spot.x);
    }
    return {left - kFrameMargin, top - kFrameMargin - kFrameLabel, right - left + 2 * kFrameMargin,
            bottom - top + 2 * kFrameMargin + kFrameLabel};
  }

  // Arrows that share a side of a box are spread along it in the order of where they come from or go to.
  double port(int box, size_t way, bool top) const {
    struct End {
      double x;
      size_t way;
    };
    std::vector<End> ends;
    for (size_t i = 0; i < ways_.size(); ++i) {
      if ((top ? ways_[i].back() : ways_[i].front()) != box) continue;
      ends.push_back({spots_[static_cast<size_t>(top ? ways_[i][ways_[i].size() - 2] : ways_[i][1])].x, i});
    }
    std::stable_sort(ends.begin(), ends.end(), [](const End& a, const End& b) { return a.x < b.x; });
    size_t place = 0;
    while (ends[place].way != way) ++place;
    const auto& rectangle = result_.boxes[static_cast<size_t>(box)];
    const double step = std::min(18.0, rectangle.width / static_cast<double>(ends.size() + 1));
    return rectangle.x + rectangle.width / 2 + (static_cast<double>(place) - static_cast<double>(ends.size() - 1) / 2) * step;
  }

  void trace_arrows() {
    for (size_t i = 0; i < ways_.size(); ++i) {
      const std::vector<int>& way = ways_[i];
      const auto& from = result_.boxes[static_cast<size_t>(way.front())];
      const auto& to = result_.boxes[static_cast<size_t>(way.back())];
      std::vector<DiagramLayout::Point> points = {{port(way.front(), i, false), from.y + from.height}};
      for (size_t k = 1; k + 1 < way.size(); ++k) {
        const Spot& spot = spots_[static_cast<size_t>(way[k])];
        points.push_back({spot.x, row_top_[static_cast<size_t>(spot.row)]});
        points.push_back({spot.x, row_bottom_[static_cast<size_t>(spot.row)]});
      }
      points.push_back({port(way.back(), i, true), to.y});
      result_.arrows.push_back(std::move(points));
    }
  }

  // Everything to the right of and below (0, 0).
  void shift() {
    double left = result_.boxes.empty() ? 0 : INFINITY, top = left;
    const auto reach = [&](double x, double y) {
      left = std::min(left, x);
      top = std::min(top, y);
    };
    for (const auto* rectangles : {&result_.boxes, &result_.frames}) {
      for (const auto& rectangle : *rectangles) reach(rectangle.x, rectangle.y);
    }
    for (const auto& points : result_.arrows) {
      for (const auto& point : points) reach(point.x, point.y);
    }
    for (auto* rectangles : {&result_.boxes, &result_.frames}) {
      for (auto& rectangle : *rectangles) {
        rectangle.x -= left;
        rectangle.y -= top;
        result_.width = std::max(result_.width, rectangle.x + rectangle.width);
        result_.height = std::max(result_.height, rectangle.y + rectangle.height);
      }
    }
    for (auto& points : result_.arrows) {
      for (auto& point : points) {
        point.x -= left;
        point.y -= top;
        result_.width = std::max(result_.width, point.x);
      }
    }
  }

  const Diagram& diagram_;
  std::vector<int> rows_;                // of boxes
  std::vector<Spot> spots_;              // the boxes first
  std::vector<std::vector<int>> order_;  // spots of each row, from the left
  std::vector<std::vector<int>> ways_;   // spots along each arrow
  std::vector<double> row_top_, row_bottom_;
  DiagramLayout result_;
};

}  // namespace

DiagramLayout lay_out(const Diagram& diagram) { return Layout(diagram).make(); }

}  // namespace bertie
