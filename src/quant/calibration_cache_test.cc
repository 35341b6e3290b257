#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/message_of_test.h"
#include "bertie/calibration.h"

namespace bertie {
namespace {

using testing::HasSubstr;

class CalibrationCache : public testing::Test {
 protected:
  void SetUp() override {
    calibration_.method = "entropy";
    calibration_.model_hash = "00ff";
    calibration_.data_hash = "ab";
    calibration_.texts = 3;
    calibration_.tokens = 40;
    calibration_.layers["encoder.layer.0.\"x\""] = {0.1f,  {1.0f, 0.3333333f}, {-1e-30f, 3.4e38f}, {0.0f, 1e-45f},
                                                    -7.5f, 1.0f / 3,           {{0, 1}, {}, {1}}};
    calibration_.layers["b"] = {std::nextafter(1.0f, 2.0f), {}, {}, {}, -1, 1, {}};
    calibration_.max_loss = 0.005;
    calibration_.kept["b"] = 1.0 / 3;
    calibration_.save(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string text() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  // What load says once `from` stands as `to`.
  std::string message_with(const std::string& from, const std::string& to) const {
    std::string changed = text();
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    std::ofstream(path_) << changed.replace(at, from.size(), to);
    const std::string message = message_of([&] { Calibration::load(path_); });
    calibration_.save(path_);
    return message;
  }

  std::string path_ = testing::TempDir() + "calibration_cache_test.json";
  Calibration calibration_;
};

TEST_F(CalibrationCache, ReadsBackTheSameFloats) {
  const Calibration loaded = Calibration::load(path_);
  EXPECT_EQ(loaded.method, "entropy");
  EXPECT_EQ(loaded.texts, 3u);
  EXPECT_EQ(loaded.max_loss, calibration_.max_loss);
  EXPECT_EQ(loaded.kept, calibration_.kept);
  ASSERT_EQ(loaded.layers.size(), 2u);
  for (const auto& [name, layer] : calibration_.layers) {
    const TensorCalibration& read = loaded.layers.at(name);
    EXPECT_EQ(read.scale, layer.scale);
    EXPECT_EQ(read.migration, layer.migration);
    EXPECT_EQ(read.shift, layer.shift);
    EXPECT_EQ(read.mean, layer.mean);
    EXPECT_EQ(read.lowest, layer.lowest);
    EXPECT_EQ(read.highest, layer.highest);
    EXPECT_EQ(read.other_neighbours, layer.other_neighbours);
  }
  const std::string before = text();
  loaded.save(path_);
  EXPECT_EQ(text(), before);
}

TEST_F(CalibrationCache, SaysWhatIsWrong) {
  EXPECT_THAT(message_with("\"scale\":0.1", "\"scale\":0.2"), HasSubstr("changed since it was made"));
  EXPECT_THAT(message_with("\"scale\":0.1", "\"scale\":-0.1"), HasSubstr("layers.encoder.layer.0.\"x\".scale"));
  EXPECT_THAT(message_with("\"scale\":0.1", "\"scale\":0"), HasSubstr("above 0"));
  EXPECT_THAT(message_with("\"migration\":[1", "\"migration\":[0"), HasSubstr("above 0"));
  EXPECT_THAT(message_with("\"migration\":[1,", "\"migration\":[1,1,"), HasSubstr("lists of 3 and 2 numbers"));
  EXPECT_THAT(message_with("\"shift\":[", "\"shift\":[1e99,"), HasSubstr("finite"));
  for (const char* lists :
       {"3", "[3]", "[[0]]", "[[1,0]]", "[[1,-1]]", "[[0.5]]", "[[\"1\"]]", "[[2147483648,1]]", "[[2147483647,2]]"}) {
    EXPECT_THAT(message_with("\"other_neighbours\":[[1,1],[],[2]]", std::string("\"other_neighbours\":") + lists),
                HasSubstr("other_neighbours"))
        << lists;
  }
  EXPECT_THAT(message_with("[[1,1],[],[2]]", "[[1,1],[],[1]]"), HasSubstr("changed since it was made"));
  EXPECT_THAT(message_with("\"kept\":{\"b\":0", "\"kept\":{\"b\":1"), HasSubstr("changed since it was made"));
  EXPECT_THAT(message_with("\"kept\":{\"b\":0", "\"kept\":{\"b\":-0"), HasSubstr("kept.b"));
  EXPECT_THAT(message_with("\"version\":1", "\"version\":2"), HasSubstr("another version"));
  EXPECT_THAT(message_with("bertie calibration", "other"), HasSubstr("no calibration cache"));
  EXPECT_THAT(message_with("\"layers\":{", "\"layers\":{{"), HasSubstr(path_));
  EXPECT_THAT(message_of([] { Calibration::load("/no/such"); }), HasSubstr("/no/such"));
}

TEST_F(CalibrationCache, IsForOneModel) {
  EXPECT_NO_THROW(calibration_.require_made_for("00ff", path_));
  EXPECT_THAT(message_of([&] { calibration_.require_made_for("11ff", path_); }), HasSubstr("made for another model"));
}

}  // namespace
}  // namespace bertie
